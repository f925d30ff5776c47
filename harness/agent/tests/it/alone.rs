//! Runs a test alone: in a user, network, mount and process namespace of its own, as root of it.
//! What a test leaves behind there ends with it, and tests do not see each other.

use std::process::Command;

const INSIDE: &str = "SCHISM_TEST_INSIDE";

/// Runs `body` in namespaces of its own, by running this test again in them. `name` is the test's
/// full name. Where user namespaces are forbidden the test fails and says so.
pub fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.expect("`ip` is installed (iproute2)").success());
        return body();
    }
    let test = std::env::current_exe().expect("this program");
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
        ])
        .arg("--kill-child")
        .arg(test)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, name)
        .env("PATH", path())
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("`unshare` is installed (util-linux)");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !stderr.contains("unshare failed") && !stderr.contains("unshare: "),
        "this machine forbids user namespaces, which this test needs: {stderr}\n\
         (see kernel.unprivileged_userns_clone, user.max_user_namespaces and \
         kernel.apparmor_restrict_unprivileged_userns)"
    );
    assert!(output.status.success(), "{stdout}\n{stderr}");
    // A name that fits no test would pass by running nothing.
    assert!(
        stdout.contains("1 passed"),
        "no test named {name}: {stdout}"
    );
}

/// Where `nft` and `tc` are found: an ordinary user's PATH often lacks the folders.
fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/sbin:/usr/sbin:/sbin")
}
