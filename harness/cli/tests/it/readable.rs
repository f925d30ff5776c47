//! Reports can be read: by keyboard, in the light and in the dark, without their script, and with
//! no words upon others.

use serde_json::json;

use crate::browser::{Browser, DESK, Screen};
use crate::opened::{PHONE, assert_quiet, lanes, number, of_every_kind, page, text, text_of};
use crate::support::Place;

/// The places that the tabulator reaches are all that can be used.
#[test]
fn the_keyboard_reaches_everything() {
    let place = Place::new();
    let page = page(&place, "stale-read");
    let mut browser = Browser::start();
    browser.open(&page, "", DESK);
    browser.eval(
        "window.usable = () => [...document.querySelectorAll('a[href], button, input, select, canvas, summary, [tabindex]')]\
         .filter((e) => !e.disabled && e.checkVisibility() && e.tabIndex >= 0); \
         usable().forEach((e, i) => { e.dataset.place = i; }); window.reached = new Set();",
    );
    let all = number(&mut browser, "usable().length") as usize;
    assert!(all > 25, "{all}");
    for _ in 0..2 * all {
        browser.key("Tab");
        browser.eval(
            "if (document.activeElement.dataset) reached.add(document.activeElement.dataset.place)",
        );
    }
    let missed = browser.eval("usable().filter((e) => !reached.has(e.dataset.place)).map((e) => e.outerHTML.slice(0, 120))");
    assert_eq!(missed, json!([]));
    // From one operation to the next, in words.
    browser.eval("document.getElementById('view').focus()");
    browser.key("ArrowDown");
    let first = text(&mut browser, "ops-one");
    browser.key("ArrowDown");
    let second = text(&mut browser, "ops-one");
    assert!(
        first.starts_with("#0 write") && second.starts_with('#') && second != first,
        "{first} {second}"
    );
    assert_quiet(&browser, "stale-read");
}

/// Text against what lies behind it, by WCAG 2.2's formula
/// (<https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio>).
const FAINT: &str = include_str!("contrast.js");

#[test]
fn text_stands_out_in_the_light_and_in_the_dark() {
    let place = Place::new();
    let evil = place.file("lanes.html", lanes("word"));
    let mut pages = vec![evil];
    for name in [
        "stale-read",
        "few-values-stale",
        "append-two-orders",
        "chain-left-for-less-work",
        "logs-differ-in-a-slot",
        "lock-held-twice",
        "run-with-a-fault",
    ] {
        pages.push(page(&place, name));
    }
    let mut browser = Browser::start();
    for page in &pages {
        for dark in [false, true] {
            browser.open(page, "", Screen { dark, ..DESK });
            browser.eval("document.querySelectorAll('details').forEach((d) => { d.open = true; })");
            let faint = browser.eval(FAINT);
            assert_eq!(faint, json!([]), "{}, dark: {dark}", page.display());
        }
    }
}

/// No words of a picture lie upon others, on a desk and on a telephone, where it is as wide as the
/// screen.
#[test]
fn words_in_pictures_do_not_cover_each_other() {
    let place = Place::new();
    let mut browser = Browser::start();
    let mut pictures = 0.0;
    for name in of_every_kind() {
        let page = page(&place, &name);
        for screen in [DESK, PHONE] {
            browser.open(&page, "", screen);
            pictures += number(
                &mut browser,
                "[...document.querySelectorAll('svg.timeline')].filter((s) => s.checkVisibility()).length",
            );
            let covered = browser.eval(
                "[...document.querySelectorAll('svg.timeline')].filter((s) => s.checkVisibility()).flatMap((svg) => { \
                   const texts = [...svg.querySelectorAll('.says text, text.arrow, text.tick')]; \
                   const boxes = texts.map((t) => t.getBoundingClientRect()); \
                   return texts.flatMap((t, i) => texts.slice(0, i).filter((u, j) => { \
                     const [a, b] = [boxes[i], boxes[j]]; \
                     return a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3; \
                   }).map((u) => `${u.textContent} / ${t.textContent}`)); }).join('; ')",
            );
            assert_eq!(covered, "", "{name} at {}", screen.width);
            let wide = browser.eval(
                "[...document.querySelectorAll('svg.timeline')].filter((s) => s.checkVisibility()) \
                   .every((s) => s.parentElement.scrollWidth <= s.parentElement.clientWidth)",
            );
            assert_eq!(wide, true, "{name} at {}", screen.width);
        }
    }
    assert!(pictures > 40.0, "{pictures}");
}

/// Without its script a page says what it cannot show, and shows all else.
#[test]
fn a_page_without_its_script_can_be_read() {
    let place = Place::new();
    let page = page(&place, "stale-read");
    let mut browser = Browser::start();
    browser.call(
        "Emulation.setScriptExecutionDisabled",
        json!({"value": true}),
    );
    browser.open_plain(&page, DESK);
    let said = text_of(&mut browser, "#operations noscript p");
    assert!(said.contains("need its script"), "{said}");
    let height = number(
        &mut browser,
        "document.querySelector('svg.timeline').getBoundingClientRect().height",
    );
    assert!(height > 60.0, "{height}");
}
