//! A tar's entries with their whole names. The library would keep a name of any length in memory.

use std::io::Read;

use tar::{Entries, Entry, EntryType, Header, PaxExtensions};

/// More than any path that Linux takes, and than what else stands beside a name.
const NAME_MAX: u64 = 1 << 20;

/// One entry.
#[derive(Clone, Debug)]
pub struct Item {
    pub name: Vec<u8>,
    /// What a link leads to.
    pub link: Vec<u8>,
    pub kind: EntryType,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u64,
    pub size: u64,
}

/// What extension headers say of the next entry.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// Goes through all entries in order.
///
/// # Errors
/// The first that is damaged, or of a kind that no image has; what `each` returns.
pub fn walk<R: Read>(
    entries: Entries<'_, R>,
    mut each: impl FnMut(Item, &mut Entry<'_, R>) -> Result<(), String>,
) -> Result<(), String> {
    let mut ahead = Ahead::default();
    for entry in entries.raw(true) {
        let mut entry = entry.map_err(|e| format!("it is no tar, or damaged: {e}"))?;
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => ahead.name = Some(long(&mut entry)?),
            EntryType::GNULongLink => ahead.link = Some(long(&mut entry)?),
            EntryType::XHeader => extend(&mut ahead, &mut entry)?,
            EntryType::XGlobalHeader => {}
            EntryType::GNUSparse => return Err("it has sparse files, which are not read".into()),
            _ => {
                let item = item(entry.header(), std::mem::take(&mut ahead))?;
                each(item, &mut entry)?;
            }
        }
    }
    Ok(())
}

fn item(header: &Header, ahead: Ahead) -> Result<Item, String> {
    let number = |number: std::io::Result<u64>| number.map_err(|e| e.to_string());
    let own_link = || header.link_name_bytes().unwrap_or_default().into_owned();
    Ok(Item {
        name: ahead
            .name
            .unwrap_or_else(|| header.path_bytes().into_owned()),
        link: ahead.link.unwrap_or_else(own_link),
        kind: header.entry_type(),
        mode: header.mode().map_err(|e| e.to_string())?,
        // Larger ones stand in extensions; whose number is unknown is nobody.
        uid: number(header.uid())?.try_into().unwrap_or(65534),
        gid: number(header.gid())?.try_into().unwrap_or(65534),
        mtime: number(header.mtime())?,
        size: number(header.size())?,
    })
}

fn bounded<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = entry.take(NAME_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|e| e.to_string())?;
    match bytes.len() as u64 > NAME_MAX {
        true => Err("it has a name of more than a million bytes".into()),
        false => Ok(bytes),
    }
}

fn long<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, String> {
    let mut bytes = bounded(entry)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn extend<R: Read>(ahead: &mut Ahead, entry: &mut Entry<'_, R>) -> Result<(), String> {
    let bytes = bounded(entry)?;
    for extension in PaxExtensions::new(&bytes) {
        let extension = extension.map_err(|e| e.to_string())?;
        let value = extension.value_bytes().to_vec();
        match extension.key_bytes() {
            b"path" => ahead.name = Some(value),
            b"linkpath" => ahead.link = Some(value),
            b"size" => return Err("it has a file of more than 8 GiB".into()),
            key if key.starts_with(b"GNU.sparse") => {
                return Err("it has sparse files, which are not read".into());
            }
            _ => {}
        }
    }
    Ok(())
}
