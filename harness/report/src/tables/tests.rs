use serde_json::json;

use super::*;

#[test]
fn a_spec_is_flattened_to_dotted_names() {
    let spec = json!({
        "seed": 7,
        "params": {"lease_ms": 500, "reads": "lease"},
        "nodes": ["n1", "n2"],
        "nemeses": [{"family": "pause"}],
        "flaw": null,
    });
    let mut rows = Vec::new();
    flatten(&spec, String::new(), &mut rows);
    let mut rows: Vec<String> = rows.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    rows.sort();
    assert_eq!(
        rows,
        [
            "nemeses[0].family=pause",
            "nodes=n1, n2",
            "params.lease_ms=500",
            "params.reads=lease",
            "seed=7"
        ]
    );
}

#[test]
fn models_are_a_table_if_one_is_refuted() {
    let figure = |name: &str, value: Json| Figure {
        name: name.to_string(),
        value,
        unit: String::new(),
    };
    let mut all = vec![
        figure("models that hold", json!(["causal"])),
        figure("models refuted", json!(["sequential"])),
        figure("models undecided", json!(["prefix"])),
        figure(
            "cores",
            json!({"sequential": {"ops": [3, 8], "reason": "<"}}),
        ),
        figure("keys", json!(2)),
    ];
    let out = models(&all).into_string();
    for row in [
        "<tr><td>causal</td><td class=\"holds\">holds</td><td></td></tr>",
        "<tr><td>sequential</td><td class=\"refuted\">refuted</td><td><a href=\"#op-3\" data-jump=\"3\">#3</a> and \
         <a href=\"#op-8\" data-jump=\"8\">#8</a></td></tr>",
        "<tr><td>prefix</td><td class=\"undecided\">undecided</td><td></td></tr>",
    ] {
        assert!(out.contains(row), "{out}");
    }
    let others = figures(&all).into_string();
    assert!(
        others.contains("keys") && !others.contains("causal"),
        "{others}"
    );
    all[1] = figure("models refuted", json!([]));
    assert_eq!(models(&all).into_string(), "");
}

#[test]
fn figures_are_readable_numbers() {
    let number = |json: Json| number(json.as_number().unwrap());
    assert_eq!(number(json!(1204117)), "1,204,117");
    assert_eq!(number(json!(0.123456)), "0.123");
    assert_eq!(number(json!(2.5)), "2.5");
    assert_eq!(number(json!(-3)), "-3");
    assert_eq!([number(json!(-0.0)), number(json!(0.0))], ["0", "0"]);
    let parts = json!({"deepest": 3, "tries": [1, {"at": null, "of": "n1"}]});
    assert_eq!(readable(&parts), "deepest 3, tries (1, (at none, of n1))");
}
