//! What is to be written into an image: worked out before anything is touched.

use super::image::{Function, Image};
use super::payload::{self, Header, Jump, Route};
use super::process::{self, Memory};
use super::relocate;
use super::{ClockError, Result};

/// The vDSO of this machine, as far as patching goes: what `doctor` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `x86_64` or `aarch64`.
    pub arch: &'static str,
    /// Length of the mapping in bytes.
    pub image_len: usize,
    /// Bytes at its end that nobody uses.
    pub free_len: usize,
    /// Bytes of them that the payload takes.
    pub payload_len: usize,
    /// The functions that are led to the payload, with their offsets.
    pub functions: Vec<(String, usize)>,
    /// How the shifted functions get at the true time.
    pub route: Route,
}

/// All that is to be written, worked out from an unpatched image.
pub(super) struct Plan {
    /// Offset of the payload in the image.
    pub at: usize,
    pub payload: Vec<u8>,
    pub free_len: usize,
    pub route: Route,
    pub jumps: Vec<Jump>,
    pub functions: Vec<(String, usize)>,
}

/// This machine's vDSO, and whether processes like this one can be patched. It looks at this
/// process's own vDSO, which is the same in all 64-bit processes, and changes nothing;
/// [`rehearse`] tries it out.
///
/// # Errors
/// [`ClockError::Unsupported`] says what is missing.
pub fn support() -> Result<Layout> {
    let pid = std::process::id();
    let vdso = process::vdso(pid)?;
    let image = Image::read(&Memory::open(pid)?, vdso)?;
    let plan =
        plan(&image, vdso.start).map_err(|reason| ClockError::Unsupported { pid, reason })?;
    Ok(Layout {
        arch: std::env::consts::ARCH,
        image_len: image.bytes.len(),
        free_len: plan.free_len,
        payload_len: plan.payload.len(),
        functions: plan.functions,
        route: plan.route,
    })
}

fn body<'i>(image: &'i Image, function: &Function) -> &'i [u8] {
    &image.bytes[function.at..function.at + function.len]
}

/// Where a jump into the payload replaces the head of each function.
fn jumps(image: &Image, functions: &[&Function]) -> Result<Vec<Jump>, String> {
    let jumps: Vec<Jump> = functions
        .iter()
        .map(|function| {
            let head = relocate::head(body(image, function));
            let start = function.at + head.at;
            let displaced = image
                .bytes
                .get(start..start + 8)
                .and_then(|bytes| bytes.try_into().ok());
            Some(Jump {
                at: start,
                len: head.len,
                displaced: displaced?,
            })
        })
        .collect::<Option<_>>()
        .ok_or("a function ends outside it")?;
    if let Some((short, _)) = functions
        .iter()
        .zip(&jumps)
        .find(|(function, jump)| function.len < jump.len + 4)
    {
        return Err(format!(
            "{} has {} bytes: no room for a jump",
            short.name, short.len
        ));
    }
    Ok(jumps)
}

/// What the hooks call for the unshifted time: the function's displaced head, if it can be moved
/// from `base` to behind `at`, and a system call if not.
fn original(image: &Image, original: &Function, base: u64, at: usize) -> (Vec<u8>, Route) {
    // Only the first function is called by the hooks. The others could be called by it, or jump to
    // its head, which would shift a time twice: so their code is looked through as well.
    let others = image
        .functions
        .iter()
        .filter(|function| function.at != original.at);
    let moved = relocate::relocate(
        body(image, original),
        base + original.at as u64,
        relocate::head(body(image, original)),
        base + (at + payload::original_at()) as u64,
        others.map(|function| (body(image, function), base + function.at as u64)),
    );
    match moved {
        Ok(moved) if moved.bytes.len() <= payload::ORIGINAL_LEN => (moved.bytes, Route::Trampoline),
        Ok(_) => (
            relocate::system_call(),
            Route::SystemCall {
                reason: "its first instructions grew too long".into(),
            },
        ),
        Err(reason) => (relocate::system_call(), Route::SystemCall { reason }),
    }
}

/// Works out payload and jumps for an unpatched image at address `base`. The error is half a
/// sentence.
pub(super) fn plan(image: &Image, base: u64) -> Result<Plan, String> {
    let at = image.end().next_multiple_of(payload::ALIGN);
    let free_len = image.bytes.len().saturating_sub(at);
    let mut payload = payload::code();
    if free_len < payload.len() {
        return Err(format!(
            "{} bytes are free at its end, {} are needed",
            free_len,
            payload.len()
        ));
    }
    let targets = payload::targets();
    let functions: Vec<&Function> = targets
        .iter()
        .map(|target| {
            image
                .function(target.names)
                .ok_or_else(|| format!("it has no {}", target.names[0]))
        })
        .collect::<Result<_, _>>()?;
    let jumps = jumps(image, &functions)?;
    let (bytes, route) = original(image, functions[0], base, at);
    payload[payload::original_at()..][..bytes.len()].copy_from_slice(&bytes);
    let header = Header {
        version: payload::VERSION,
        len: payload.len(),
        sequence: 0,
        trampoline: route == Route::Trampoline,
        jumps: jumps.clone(),
    };
    let header = header.encode();
    payload[payload::data_at()..][..header.len()].copy_from_slice(&header);
    let functions = functions
        .iter()
        .map(|function| (function.name.clone(), function.at))
        .collect();
    Ok(Plan {
        at,
        payload,
        free_len,
        route,
        jumps,
        functions,
    })
}

/// The bytes of the jumps to a payload at `at`, in the order of [`payload::targets`].
pub(super) fn jump_bytes(jumps: &[Jump], at: usize) -> impl Iterator<Item = Vec<u8>> {
    jumps
        .iter()
        .zip(payload::targets())
        .map(move |(jump, target)| {
            relocate::jump(jump.at as u64, jump.len, (at + target.hook) as u64)
                .expect("both lie in one image of a few pages")
        })
}

pub(super) fn jumps_stand(image: &Image, jumps: &[Jump], at: usize) -> bool {
    jumps
        .iter()
        .zip(jump_bytes(jumps, at))
        .all(|(jump, bytes)| image.bytes.get(jump.at..jump.at + bytes.len()) == Some(&bytes[..]))
}
