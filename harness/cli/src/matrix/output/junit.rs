//! `junit.xml`: what GitLab, Jenkins and most others show. Failures are what a person has to look
//! at, and nothing else.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::again;
use crate::matrix::gate::{Colour, Judged, Shown};

pub fn xml(judged: &Judged) -> io::Result<String> {
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for shown in &judged.cells {
        let system = shown.cell.system.as_str();
        let suite = suites
            .entry(system)
            .or_insert_with(|| TestSuite::new(system));
        suite.add_test_case(case(shown));
    }
    let mut gate = TestSuite::new("night");
    for reason in &judged.reasons {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status
            .set_type(reason.gate.word())
            .set_message(reason.text.as_str());
        // The cells say so themselves where they are red.
        if reason.gate != crate::matrix::gate::Gate::Red {
            gate.add_test_case(TestCase::new(reason.text.as_str(), status));
        }
    }
    let mut report = Report::new(format!("{} {}", judged.head.name, judged.head.night));
    report.add_test_suites(suites.into_values());
    if !gate.test_cases.is_empty() {
        report.add_test_suite(gate);
    }
    report.to_string().map_err(io::Error::other)
}

fn case(shown: &Shown) -> TestCase {
    let cell = shown.cell;
    let by = shown.came.as_ref().and_then(|came| came.by.as_ref());
    let status = match shown.colour {
        Colour::Green | Colour::Found => TestCaseStatus::success(),
        Colour::Red | Colour::Silent => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status
                .set_type(shown.colour.word())
                .set_message(shown.why.as_str());
            status.set_description(describe(shown));
            status
        }
        other => {
            let mut status = TestCaseStatus::skipped();
            let issue = shown
                .issue
                .map_or(String::new(), |issue| format!(" {}", issue.link));
            status.set_message(format!("{}{issue}: {}", other.word(), shown.why));
            status
        }
    };
    let name = format!("{}/{}/{}", cell.workload, cell.nemesis, cell.seed);
    let mut case = TestCase::new(name, status);
    case.set_classname(cell.system.as_str());
    if let Some(ran) = by {
        case.set_time(Duration::from_secs_f64(ran.took_s.max(0.0)));
        if let Some(print) = &ran.fingerprint {
            case.add_property(Property::new("fingerprint", print.id.as_str()));
        }
    }
    case
}

/// What a person needs who has nothing but this.
fn describe(shown: &Shown) -> String {
    let by = shown.came.as_ref().and_then(|came| came.by.as_ref());
    let print = by.and_then(|ran| ran.fingerprint.as_ref());
    let lines = [
        shown.why.clone(),
        again(shown),
        print.map_or(String::new(), |print| format!("fingerprint {}", print.id)),
        by.map_or(String::new(), |ran| format!("again: {}", ran.again)),
    ];
    let lines = lines.into_iter().filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}
