//! Container images, as engines save them.

use std::path::PathBuf;

use workloads::image::Image;

/// A file of an image: what it says of itself is read, or it is said what is wrong. Layers are not
/// unpacked, for none of chance would be what its configuration says.
pub fn image(file: &[u8]) {
    // In memory, where the machine has that; each fuzzer is a process.
    let name = format!("schism-fuzz-image-{}.tar", std::process::id());
    let path: PathBuf = ["/dev/shm", &name].iter().collect();
    std::fs::write(&path, file).expect("/dev/shm can be written to");
    for name in [None, Some("app:1")] {
        match Image::open(&path, name) {
            Ok(image) => drop(image.config()),
            Err(e) => assert!(!e.to_string().is_empty()),
        }
    }
    std::fs::remove_file(&path).expect("it is ours");
}
