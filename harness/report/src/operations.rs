//! The section of all operations: the frame of the timeline and of the table, which the script
//! fills from what is `packed`.

use std::fmt::{self, Write};

use crate::packed;
use crate::text::counted;
use crate::{Findings, Run, Told};

pub fn write(out: &mut String, run: &Run, findings: &Findings) -> fmt::Result {
    let all = counted(run.listed.len(), "operation");
    writeln!(
        out,
        "<p class=\"lead\">All {all}, from the whole run down to a single one.</p>\
         <noscript><p class=\"lead\">They are in this page, packed, and need its script to be shown. Everything else \
         can be read without it.</p></noscript>\
         <p id=\"ops-status\" role=\"status\"></p><div id=\"ops\" hidden>"
    )?;
    filters(out)?;
    timeline(out, run.input.told)?;
    table(out)?;
    writeln!(out, "</div>")?;
    writeln!(out, "{}", packed::element(run, findings))
}

fn filters(out: &mut String) -> fmt::Result {
    let choice = |name: &str| {
        format!(
            "<label>{name} <select id=\"ops-{name}\"><option value=\"\">all</option></select></label>"
        )
    };
    // Keys and processes can be many thousands: they are typed, with suggestions.
    let typed = |name: &str| {
        format!(
            "<label id=\"ops-{name}-label\">{name} <input id=\"ops-{name}\" list=\"ops-{name}-list\" size=\"8\" \
             autocomplete=\"off\" placeholder=\"all\"></label><datalist id=\"ops-{name}-list\"></datalist>"
        )
    };
    writeln!(
        out,
        "<div class=\"controls\" role=\"group\" aria-label=\"Filter\">\
         <label>search <input type=\"search\" id=\"ops-text\" placeholder=\"value, error, node…\"></label>\
         {}{}{}{}\
         <label>outcome <select id=\"ops-outcome\"><option value=\"\">all</option><option value=\"0\">ok</option>\
         <option value=\"1\">fail</option><option value=\"2\">info</option></select></label>\
         <button type=\"button\" id=\"ops-clear\" disabled>show all</button>\
         <span id=\"ops-count\" role=\"status\"></span></div>",
        choice("f"),
        typed("key"),
        typed("process"),
        choice("node"),
    )
}

/// What needs saying of the lanes above those of the operations.
fn lanes(told: &Told) -> &'static str {
    if told.led.iter().any(|led| !led.sure) {
        " Nodes were asked now and then who leads: where a lane is faint, nobody knows."
    } else if !told.tips.is_empty() {
        " In the lanes of tips a bar is a block, and nodes that have the same one have the same colour."
    } else {
        ""
    }
}

fn timeline(out: &mut String, told: &Told) -> fmt::Result {
    writeln!(
        out,
        "<div class=\"controls\" role=\"group\" aria-label=\"Zoom\">\
         <button type=\"button\" id=\"view-in\" aria-label=\"Zoom in\">+</button>\
         <button type=\"button\" id=\"view-out\" aria-label=\"Zoom out\">−</button>\
         <button type=\"button\" id=\"view-left\" aria-label=\"Earlier\">←</button>\
         <button type=\"button\" id=\"view-right\" aria-label=\"Later\">→</button>\
         <button type=\"button\" id=\"view-all\">whole run</button>\
         <button type=\"button\" id=\"ops-anomaly\">next anomaly</button>\
         <button type=\"button\" id=\"ops-error\">next error</button>\
         <label>go to # <input type=\"number\" id=\"ops-go\" min=\"0\"></label>\
         <a id=\"view-link\" href=\"#operations\">link to this view</a></div>\
         <canvas id=\"view\" tabindex=\"0\" role=\"application\" aria-describedby=\"view-help\" \
         aria-label=\"Timeline of all operations\"></canvas>\
         <p class=\"keys\"><span id=\"legend-far\"></span><span id=\"legend-near\"></span></p>\
         <p id=\"ops-one\" aria-live=\"polite\"></p>\
         <p class=\"caption\" id=\"view-help\">Wheel and drag, or + − ← → Home, zoom and move; ↑ ↓ go from one operation \
         to the next. Far away a lane is as high as operations were open at that moment; near, each bar is one operation \
         from call to answer: filled where it asked to change something or is unknown, and fading where nobody knows \
         its end. The narrow strip on top is the whole run.{}</p>",
        lanes(told)
    )
}

fn table(out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "<div class=\"scroll rows\" tabindex=\"0\" role=\"region\" aria-label=\"Operations in view\">\
         <table class=\"ops\"><thead><tr><th class=\"n\">index</th><th class=\"n\">call</th>\
         <th class=\"n\">took</th><th>process</th><th>node</th><th>f</th><th>key</th><th>asked</th><th>answered</th>\
         <th>outcome</th><th>error</th></tr></thead><tbody id=\"ops-body\"></tbody></table></div>\
         <div class=\"controls pager\"><button type=\"button\" id=\"ops-back\">← earlier</button>\
         <span id=\"ops-where\" role=\"status\"></span>\
         <button type=\"button\" id=\"ops-on\">later →</button></div>"
    )
}
