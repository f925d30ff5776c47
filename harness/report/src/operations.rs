//! The section of all operations: the frame of the timeline and of the table, which the script
//! fills from what is `packed`.

use maud::{Markup, html};

use crate::text::counted;
use crate::{Run, Told};

/// What the script fills: filters, timeline and table.
pub fn frame(run: &Run) -> Markup {
    html! {
        p.lead { "All " (counted(run.listed.len(), "operation")) ", from the whole run down to a single one." }
        noscript {
            p.lead {
                "They are in this page, packed, and need its script to be shown. Everything else can be read without \
                 it."
            }
        }
        p id="ops-status" role="status" {}
        div id="ops" hidden {
            (filters())
            (timeline(run.input.told))
            (table())
        }
    }
}

fn filters() -> Markup {
    let choice = |name: &str| {
        html! { label { (name) " " select id={ "ops-" (name) } { option value="" { "all" } } } }
    };
    // Keys and processes can be many thousands: they are typed, with suggestions.
    let typed = |name: &str| {
        html! {
            label id={ "ops-" (name) "-label" } {
                (name) " "
                input id={ "ops-" (name) } list={ "ops-" (name) "-list" } size="8" autocomplete="off"
                    placeholder="all";
            }
            datalist id={ "ops-" (name) "-list" } {}
        }
    };
    html! {
        div.controls role="group" aria-label="Filter" {
            label { "search " input type="search" id="ops-text" placeholder="value, error, node…"; }
            (choice("f")) (typed("key")) (typed("process")) (choice("node"))
            label {
                "outcome "
                select id="ops-outcome" {
                    option value="" { "all" }
                    option value="0" { "ok" }
                    option value="1" { "fail" }
                    option value="2" { "info" }
                }
            }
            button type="button" id="ops-clear" disabled { "show all" }
            span id="ops-count" role="status" {}
        }
    }
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

fn timeline(told: &Told) -> Markup {
    html! {
        div.controls role="group" aria-label="Zoom" {
            button type="button" id="view-in" aria-label="Zoom in" { "+" }
            button type="button" id="view-out" aria-label="Zoom out" { "−" }
            button type="button" id="view-left" aria-label="Earlier" { "←" }
            button type="button" id="view-right" aria-label="Later" { "→" }
            button type="button" id="view-all" { "whole run" }
            button type="button" id="ops-anomaly" { "next anomaly" }
            button type="button" id="ops-error" { "next error" }
            label { "go to # " input type="number" id="ops-go" min="0"; }
            a id="view-link" href="#operations" { "link to this view" }
        }
        canvas id="view" tabindex="0" role="application" aria-describedby="view-help"
            aria-label="Timeline of all operations" {}
        p.keys { span id="legend-far" {} span id="legend-near" {} }
        p id="ops-one" aria-live="polite" {}
        p.caption id="view-help" {
            "Wheel and drag, or + − ← → Home, zoom and move; ↑ ↓ go from one operation to the next. Far away a lane is \
             as high as operations were open at that moment; near, each bar is one operation from call to answer: \
             filled where it asked to change something or is unknown, and fading where nobody knows its end. The \
             narrow strip on top is the whole run."
            (lanes(told))
        }
    }
}

fn table() -> Markup {
    html! {
        div class="scroll rows" tabindex="0" role="region" aria-label="Operations in view" {
            table.ops {
                thead {
                    tr {
                        @for name in ["index", "call", "took"] { th.n { (name) } }
                        @for name in ["process", "node", "f", "key", "asked", "answered", "outcome", "error"] {
                            th { (name) }
                        }
                    }
                }
                tbody id="ops-body" {}
            }
        }
        div class="controls pager" {
            button type="button" id="ops-back" { "← earlier" }
            span id="ops-where" role="status" {}
            button type="button" id="ops-on" { "later →" }
        }
    }
}
