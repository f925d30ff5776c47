//! The image of a vDSO: which functions it exports, where, and how much room is behind them.
//!
//! It is an ordinary ELF shared object. Only what the dynamic linker would use is used here, and
//! nothing in it is believed: every offset is checked against the image's length.

use super::ClockError;
use super::process::{Mapping, Memory};

/// A vDSO as it lies in memory.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub bytes: Vec<u8>,
    pub functions: Vec<Function>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub name: String,
    /// Offset in the image.
    pub at: usize,
    /// Its length in bytes; 0 where the symbol does not say.
    pub len: usize,
}

const ELF64_LITTLE: [u8; 6] = *b"\x7fELF\x02\x01";
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
const STT_FUNC: u8 = 2;
const SYMBOL_LEN: usize = 24;

impl Image {
    /// The image that a process has now.
    pub fn read(memory: &Memory, vdso: Mapping) -> super::Result<Image> {
        let mut bytes = vec![0; (vdso.end - vdso.start) as usize];
        memory.read(vdso.start, &mut bytes)?;
        Image::parse(bytes).map_err(|reason| ClockError::Unsupported {
            pid: memory.pid,
            reason,
        })
    }

    /// # Errors
    /// What is wrong with the image, as half a sentence.
    pub fn parse(bytes: Vec<u8>) -> Result<Image, String> {
        if bytes.get(..6) != Some(&ELF64_LITTLE[..]) {
            return Err("it is no 64-bit little-endian ELF image (a 32-bit program?)".into());
        }
        let functions = functions(&bytes).ok_or("its dynamic symbol table is broken")?;
        Ok(Image { bytes, functions })
    }

    pub fn function(&self, names: &[&str]) -> Option<&Function> {
        self.functions
            .iter()
            .find(|function| names.contains(&function.name.as_str()))
    }

    /// The offset behind the last byte that is not zero or that the ELF headers lay claim to.
    pub fn end(&self) -> usize {
        let used = self
            .bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        // The table of sections may end in zeros.
        let sections = || {
            let count = usize::from(half(&self.bytes, 60)?);
            usize::try_from(long(&self.bytes, 40)?)
                .ok()?
                .checked_add(count * usize::from(half(&self.bytes, 58)?))
        };
        used.max(sections().unwrap_or(0)).min(self.bytes.len())
    }
}

fn functions(image: &[u8]) -> Option<Vec<Function>> {
    let table = usize::try_from(long(image, 32)?).ok()?;
    let stride = usize::from(half(image, 54)?);
    let headers = (0..usize::from(half(image, 56)?)).map(|i| table.checked_add(i * stride));
    let headers: Vec<usize> = headers.collect::<Option<_>>()?;
    let find = |kind: u32| {
        headers
            .iter()
            .copied()
            .find(|&at| word(image, at) == Some(kind))
    };

    // Addresses in the tables count from where the image was linked; it lies here at 0.
    let load = find(PT_LOAD)?;
    let linked_at = long(image, load + 16)?.wrapping_sub(long(image, load + 8)?);
    let place = |address: u64| {
        usize::try_from(address.wrapping_sub(linked_at))
            .ok()
            .filter(|&at| at < image.len())
    };

    let dynamic = usize::try_from(long(image, find(PT_DYNAMIC)? + 8)?).ok()?;
    let entry = |tag: u64| {
        let mut at = dynamic;
        loop {
            match long(image, at)? {
                0 => return None,
                found if found == tag => return place(long(image, at + 8)?),
                _ => at += 16,
            }
        }
    };
    let symbols = entry(DT_SYMTAB)?;
    let strings = entry(DT_STRTAB)?;
    // Neither hash table is in every vDSO; each tells how many symbols there are.
    let count = match entry(DT_HASH) {
        Some(hash) => word(image, hash + 4)? as usize,
        None => gnu_symbol_count(image, entry(DT_GNU_HASH)?)?,
    };
    let mut found = Vec::new();
    for i in 0..count {
        let at = symbols.checked_add(i.checked_mul(SYMBOL_LEN)?)?;
        let (name, kind) = (word(image, at)? as usize, *image.get(at + 4)? & 15);
        if kind == STT_FUNC
            && half(image, at + 6)? != 0
            && let Some(address) = place(long(image, at + 8)?)
        {
            let name = image
                .get(strings.checked_add(name)?..)?
                .split(|&byte| byte == 0)
                .next()?;
            let len = usize::try_from(long(image, at + 16)?)
                .ok()?
                .min(image.len() - address);
            found.push(Function {
                name: String::from_utf8_lossy(name).into_owned(),
                at: address,
                len,
            });
        }
    }
    Some(found)
}

/// The GNU hash table does not hold the number of symbols: it is one more than the highest index
/// that ends a chain.
fn gnu_symbol_count(image: &[u8], table: usize) -> Option<usize> {
    let (buckets, first, bloom) = (
        word(image, table)? as usize,
        word(image, table + 4)? as usize,
        word(image, table + 8)? as usize,
    );
    let buckets_at = table.checked_add(16 + bloom.checked_mul(8)?)?;
    let mut last = 0;
    for i in 0..buckets {
        last = last.max(word(image, buckets_at.checked_add(i * 4)?)? as usize);
    }
    let chains = buckets_at.checked_add(buckets.checked_mul(4)?)?;
    while last >= first
        && word(image, chains.checked_add((last - first).checked_mul(4)?)?)? & 1 == 0
    {
        last += 1;
    }
    last.checked_add(1)
}

fn half(image: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(
        image.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

fn word(image: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        image.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn long(image: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        image.get(at..at.checked_add(8)?)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::process::{Memory, vdso};
    use super::*;

    fn own() -> (u64, Vec<u8>) {
        let me = std::process::id();
        let mapping = vdso(me).unwrap();
        let mut bytes = vec![0; (mapping.end - mapping.start) as usize];
        Memory::open(me)
            .unwrap()
            .read(mapping.start, &mut bytes)
            .unwrap();
        (mapping.start, bytes)
    }

    /// The C library found the same functions by its own parser.
    #[test]
    fn symbols_are_where_the_c_library_finds_them() {
        let (base, bytes) = own();
        // SAFETY: getauxval and dlopen of the vDSO's own name only look things up.
        unsafe {
            assert_eq!(libc::getauxval(libc::AT_SYSINFO_EHDR), base);
            let handle = libc::dlopen(
                c"linux-vdso.so.1".as_ptr(),
                libc::RTLD_NOW | libc::RTLD_NOLOAD,
            );
            assert!(!handle.is_null());
            let image = Image::parse(bytes).unwrap();
            assert!(image.functions.len() >= 3);
            for function in &image.functions {
                let name = std::ffi::CString::new(function.name.clone()).unwrap();
                let address = libc::dlsym(handle, name.as_ptr()) as u64;
                assert_eq!(address, base + function.at as u64, "{}", function.name);
            }
        }
    }

    #[test]
    fn the_gnu_hash_table_alone_will_do() {
        let (_, mut bytes) = own();
        let with_both = Image::parse(bytes.clone()).unwrap();
        // Tag 4 (DT_HASH) in the dynamic section becomes one that nobody looks for.
        let tag = |tag: u64| {
            (0..bytes.len() - 16).step_by(8).find(|&at| {
                long(&bytes, at) == Some(tag)
                    && long(&bytes, at + 8) < Some(4096)
                    && long(&bytes, at + 8) > Some(64)
            })
        };
        // Not every vDSO has both.
        let (Some(at), Some(_)) = (tag(DT_HASH), tag(DT_GNU_HASH)) else {
            return;
        };
        bytes[at..at + 8].copy_from_slice(&0x6fff_ff00_u64.to_le_bytes());
        assert_eq!(Image::parse(bytes).unwrap().functions, with_both.functions);
    }

    proptest! {
        #[test]
        fn broken_images_are_refused_or_read_but_never_crash(at in 0_usize..0x900, byte: u8, at2 in 0_usize..0x900, byte2: u8, cut in 0_usize..8192) {
            let (_, mut bytes) = own();
            bytes.truncate(cut.max(0x900));
            bytes[at] = byte;
            bytes[at2] = byte2;
            if let Ok(image) = Image::parse(bytes) {
                prop_assert!(image.end() <= image.bytes.len());
                prop_assert!(image.functions.iter().all(|f| f.at + f.len <= image.bytes.len()));
            }
        }
    }
}
