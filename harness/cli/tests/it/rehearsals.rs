//! `client-check`: a client alone, and with a node that serves.

use std::fs;

use crate::support::{Place, eventually, example};

#[test]
fn a_client_is_tried_without_a_run() {
    let place = Place::new();
    let system = example("simple-kv-client").display().to_string();
    let fine = place
        .schism(&["client-check", "--system", &system])
        .exits(0);
    assert!(!fine.stdout.contains("wrong"), "{}", fine.stdout);
    fine.prints(&[
        "answers a second",
        "ends with its input",
        "nobody listens: refused",
    ]);
    // It answers everything with ok, twice, and stays.
    let bad = place.file(
        "bad.py",
        "import sys, json\n\
         for line in sys.stdin:\n\
         \x20   asked = json.loads(line)\n\
         \x20   print(json.dumps({'id': asked['id'], 'type': 'ok', 'offers': ['read', 'wirte']}))\n\
         \x20   if asked['f'] == 'read': print('{\"id\":1,\"type\":\"ok\"}')\n\
         \x20   sys.stdout.flush()\n",
    );
    let bad = bad.display().to_string();
    place
        .schism(&["client-check", "python3", &bad])
        .exits(1)
        .prints(&[
            "\"wirte\"",
            "must be answered with fail",
            "answered with ok",
            "a second answer to 1",
        ]);
    place.schism(&["client-check"]).exits(64);
}

/// A client that is the whole system: it knows queues, counters, locks, identifiers and logs.
const OBJECTS: &str = "import sys, json
queue, log, total, holder, given = [], [], 0, None, 0
for line in sys.stdin:
    asked = json.loads(line)
    f, value, answer = asked['f'], asked.get('value'), {'type': 'ok', 'value': None}
    if f == 'init': answer['offers'] = 'read add enqueue dequeue acquire release generate send poll'.split()
    elif f == 'enqueue': queue.append(value)
    elif f == 'dequeue': answer['value'] = queue.pop(0) if queue else None
    elif f == 'add': total += value
    elif f == 'read': answer['value'] = total
    elif f == 'acquire' and holder: answer = {'type': 'fail', 'error': 'conflict'}
    elif f == 'acquire': holder = value
    elif f == 'release': holder = None
    elif f == 'generate': given += 1; answer['value'] = given
    elif f == 'send': log.append(value); answer['value'] = len(log)
    elif f == 'poll': answer['value'] = [[i + 1, v] for i, v in enumerate(log)]
    else: answer = {'type': 'fail', 'code': 10}
    answer['id'] = asked['id']
    print(json.dumps(answer), flush=True)
";

#[test]
fn objects_are_tried_too() {
    let place = Place::new();
    let tried = |program: &str| {
        let client = place.file("client.py", program).display().to_string();
        let words = ["client-check", "--address", "127.0.0.1:1", "--", "python3"];
        place.schism(&[&words[..], &[&client]].concat())
    };
    tried(OBJECTS).exits(0).prints(&["ok with [[1,1]]"]);
    for (right, wrong, says) in [
        ("queue.pop(0)", "queue.pop()", "ok with 2, not 1"),
        ("total += value", "total = value", "ok with 3, not 5"),
        (
            "f == 'acquire' and holder",
            "f == 'x'",
            "ok with null, not fail",
        ),
        (
            "enumerate(log)",
            "enumerate([])",
            "ok with [], not a list with [1,1]",
        ),
        ("answer['value'] = given", "pass", "not what is not null"),
    ] {
        assert!(OBJECTS.contains(right), "{right}");
        tried(&OBJECTS.replace(right, wrong))
            .exits(1)
            .prints(&[says]);
    }
}

/// Ended with the test, however that ends.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A node on this machine, its folder's requests, and the same with a path that it does not know.
#[test]
fn requests_are_tried_on_a_node_that_serves() {
    let place = Place::new();
    let server = example("simple-kv").join("server.py");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let serving = std::process::Command::new("python3")
        .arg(server)
        .args(["--listen", &address, "--data"])
        .arg(place.path())
        .spawn();
    let _serving = Server(serving.unwrap());
    eventually("it serves", || {
        std::net::TcpStream::connect(&address).is_ok()
    });
    let right = example("simple-kv").display().to_string();
    let text = fs::read_to_string(example("simple-kv").join("system.toml")).unwrap();
    fs::create_dir(place.path().join("wrong")).unwrap();
    place.file(
        "wrong/system.toml",
        text.replace("PUT /kv/{key}", "PUT /kw/{key}"),
    );
    let tried =
        |system: &str| place.schism(&["client-check", "--system", system, "--address", &address]);
    tried(&right)
        .exits(0)
        .prints(&["cas register-check-", "ok with [1,2]"]);
    tried("wrong").exits(1).prints(&["ok with null, not 1"]);
    let nobody = place.schism(&["client-check", "--system", &right]);
    nobody.exits(64).says(&["give its --address"]);
}
