//! Programs of several languages, each with a way of its own to ask for the time.

use super::*;

/// The whole story of one program: jump, jump of the other clock, drift, back to the truth, out.
fn judge(program: &mut Program) {
    program.assert_shows(&Shift::IDENTITY);
    let clean = image(program.pid());
    let patch = Patch::install(program.pid()).unwrap();
    program.assert_shows(&Shift::IDENTITY);

    let (ahead, behind) = (Line::offset(HOUR_NS), Line::offset(-HOUR_NS));
    let fast = Line {
        offset_ns: 5,
        rate_ppb: NANOS,
        base_ns: now(Clock::Realtime),
    };
    let slow = Line {
        offset_ns: 7 * NANOS,
        rate_ppb: -NANOS / 2,
        base_ns: now(Clock::Monotonic),
    };
    for shift in [
        realtime(ahead),
        realtime(behind),
        Shift {
            realtime: ahead,
            monotonic: Line::offset(1_000 * NANOS),
        },
        Shift {
            monotonic: slow,
            ..Shift::IDENTITY
        },
        Shift {
            realtime: fast,
            monotonic: slow,
        },
    ] {
        patch.set(&shift).unwrap();
        assert_eq!(patch.get().unwrap(), shift);
        assert!(patch.in_force().unwrap());
        program.assert_shows(&shift);
        program.assert_shows(&shift);
        for clock in [Clock::Realtime, Clock::Monotonic] {
            let reading = patch.ask(clock).unwrap();
            let line = shift.line(clock);
            assert!(
                (line.show(reading.before_ns)..=line.show(reading.after_ns))
                    .contains(&reading.shown_ns),
                "{reading:?}"
            );
        }
        program.assert_shows(&shift);
    }
    patch.set(&Shift::IDENTITY).unwrap();
    program.assert_shows(&Shift::IDENTITY);

    patch.set(&realtime(ahead)).unwrap();
    assert_eq!(patch.remove().unwrap(), Removal::Whole);
    assert_eq!(image(program.pid()), clean);
    program.assert_shows(&Shift::IDENTITY);
    assert!(matches!(patch.get(), Err(ClockError::NotPatched { .. })));
    assert!(matches!(
        patch.set(&realtime(ahead)),
        Err(ClockError::NotPatched { .. })
    ));
}

#[test]
fn rust_program() {
    judge(&mut Program::ready(&mut rust()));
}

/// Says so where a language is not installed: nothing was tested then.
fn installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success());
    if !found {
        eprintln!("NOT TESTED: there is no {program} here");
    }
    found
}

fn scratch(name: &str, text: &str) -> PathBuf {
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn c_program_dynamic_and_static() {
    if !installed("cc") {
        return;
    }
    for kind in ["-no-pie", "-static"] {
        let source = scratch(&format!("clocks{kind}.c"), include_str!("clocks.c"));
        let binary = source.with_extension("");
        let built = Command::new("cc")
            .args(["-O1", kind, "-o"])
            .arg(&binary)
            .arg(&source)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if !built.success() {
            assert_eq!(kind, "-static", "the test program does not compile");
            eprintln!("NOT TESTED: there is no static C library here");
            continue;
        }
        judge(&mut Program::ready(&mut Command::new(&binary)));
        fs::remove_dir_all(source.parent().unwrap()).unwrap();
    }
}

#[test]
fn python_program() {
    if installed("python3") {
        let text = "import sys, time\nfor line in sys.stdin:\n print(f'@r={time.time_ns()} r/256={int(time.time()*1e6)*1000} m={time.monotonic_ns()} m={time.perf_counter_ns()}', flush=True)\n";
        judge(&mut Program::ready(
            Command::new("python3").args(["-u", "-c", text]),
        ));
    }
}

#[test]
fn node_program() {
    if installed("node") {
        let text = "require('readline').createInterface({input: process.stdin}).on('line', () => console.log(`@r/1000000=${Date.now()}000000 m=${process.hrtime.bigint()}`))";
        judge(&mut Program::ready(Command::new("node").args(["-e", text])));
    }
}

#[test]
fn java_program() {
    if installed("java") && installed("javac") {
        let source = scratch("Clocks.java", include_str!("Clocks.java"));
        judge(&mut Program::ready(
            Command::new("java")
                .args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
                .arg(&source),
        ));
        fs::remove_dir_all(source.parent().unwrap()).unwrap();
    }
}

/// etcd is written in Go, which finds the vDSO by itself and calls it on a stack of its own.
#[test]
fn go_program_started_with_a_shifted_clock() {
    if !installed("etcd") {
        return;
    }
    let data = scratch("etcd", "").with_extension("data");
    let mut command = Command::new("etcd");
    // Port 0 makes it refuse the flag or choose a port; all that matters are the stamps of its log.
    command.arg("--data-dir").arg(&data).args([
        "--listen-client-urls",
        "http://127.0.0.1:0",
        "--advertise-client-urls",
        "http://127.0.0.1:0",
    ]);
    command.args([
        "--listen-peer-urls",
        "http://127.0.0.1:0",
        "--logger",
        "zap",
        "--log-outputs",
        "stdout",
    ]);
    command
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let year = Line::offset(365 * 24 * HOUR_NS);
    let before = year.show(now(Clock::Realtime));
    let (child, _) = spawn(&mut command, &realtime(year)).unwrap();
    let mut program = Program::over(child);
    let mut line = String::new();
    while !line.contains("\"ts\":\"") {
        line.clear();
        assert_ne!(
            program.stdout.read_line(&mut line).unwrap(),
            0,
            "etcd said nothing"
        );
    }
    let after = year.show(now(Clock::Realtime));
    let stamp = line
        .split("\"ts\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let shown = Command::new("date")
        .args(["-u", "-d", stamp, "+%s%N"])
        .output()
        .unwrap()
        .stdout;
    let shown: i64 = String::from_utf8(shown).unwrap().trim().parse().unwrap();
    // Its stamps have milliseconds.
    assert!((before - 1_000_000..=after).contains(&shown), "{stamp}");
    drop(program);
    fs::remove_dir_all(data.parent().unwrap()).unwrap();
}
