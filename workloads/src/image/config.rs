//! What an image says of itself: for which machine it is, and how it is started.

use serde::Deserialize;

/// The configuration of an image, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Config {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, deserialize_with = "or_default")]
    pub config: Started,
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: Layers,
}

/// How it is started where nobody says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Started {
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub stop_signal: String,
}

/// SHA-256 of each layer's content, the lowest first.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Layers {
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<String>,
}

/// Go writes `null` for what is empty.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

impl Config {
    pub fn read(text: &[u8]) -> Result<Config, String> {
        serde_json::from_slice(text)
            .map_err(|e| format!("its configuration is not understood: {e}"))
    }

    /// That it is for Linux on this processor.
    pub fn check_machine(&self) -> Result<(), String> {
        let own = processor();
        if self.os == "linux" && self.architecture == own {
            return Ok(());
        }
        Err(format!(
            "the image is for {}/{}, and this machine is linux/{own}: save the one for this machine \
             (`docker pull --platform linux/{own} NAME`, then `docker save`)",
            self.os, self.architecture
        ))
    }
}

/// This machine's processor, as images call it.
pub fn processor() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
