//! How what is missing is installed here.

/// What a package is called by each packager: Debian's, Fedora's, Arch's.
pub type Packages = [&'static str; 3];

pub const IPROUTE: Packages = ["iproute2", "iproute", "iproute2"];
pub const TC: Packages = ["iproute2", "iproute-tc", "iproute2"];
pub const NFTABLES: Packages = ["nftables", "nftables", "nftables"];
pub const SSH: Packages = ["openssh-client", "openssh-clients", "openssh"];

/// What installs packages here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packager {
    /// Debian and what comes from it.
    Apt {
        ubuntu: bool,
    },
    /// Fedora and what comes from it.
    Dnf,
    /// Arch.
    Pacman,
    Other,
}

impl Packager {
    /// By os-release(5): the distribution, then those it is like.
    pub fn of(os_release: &str) -> Packager {
        let field = |key: &str| {
            let mut lines = os_release.lines().filter_map(|line| line.split_once('='));
            let value = lines.find(|(k, _)| *k == key)?.1;
            Some(value.trim_matches(['"', '\'']).to_string())
        };
        let ids = format!(
            "{} {}",
            field("ID").unwrap_or_default(),
            field("ID_LIKE").unwrap_or_default()
        );
        let ubuntu = ids.split_whitespace().any(|id| id == "ubuntu");
        ids.split_whitespace()
            .find_map(|id| match id {
                "debian" | "ubuntu" => Some(Packager::Apt { ubuntu }),
                "fedora" | "rhel" => Some(Packager::Dnf),
                "arch" => Some(Packager::Pacman),
                _ => None,
            })
            .unwrap_or(Packager::Other)
    }

    pub fn install(self, packages: Packages) -> String {
        let [apt, dnf, pacman] = packages;
        match self {
            Packager::Apt { .. } => self.command(apt),
            Packager::Dnf => self.command(dnf),
            Packager::Pacman => self.command(pacman),
            Packager::Other => format!(
                "install the package that is called {apt} by Debian, {dnf} by Fedora, {pacman} by Arch"
            ),
        }
    }

    pub fn command(self, package: &str) -> String {
        match self {
            Packager::Apt { .. } => format!("sudo apt-get install {package}"),
            Packager::Dnf => format!("sudo dnf install {package}"),
            Packager::Pacman => format!("sudo pacman -S {package}"),
            Packager::Other => format!("install {package}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packagers_are_known_by_their_family() {
        for (os_release, packager) in [
            ("NAME=x\nID=debian\n", Packager::Apt { ubuntu: false }),
            ("ID=ubuntu\nID_LIKE=debian", Packager::Apt { ubuntu: true }),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"",
                Packager::Apt { ubuntu: true },
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"",
                Packager::Dnf,
            ),
            ("ID=manjaro\nID_LIKE=arch", Packager::Pacman),
            ("ID=nixos", Packager::Other),
            ("", Packager::Other),
        ] {
            assert_eq!(Packager::of(os_release), packager, "{os_release}");
        }
        assert_eq!(Packager::Dnf.install(TC), "sudo dnf install iproute-tc");
    }
}
