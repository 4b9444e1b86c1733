//! Reads the engine's files before the engine does, and changes nothing.
//!
//! After a crash the last batch of the active journal may be torn: it was never acknowledged, and is cut off. The engine
//! takes *any* broken batch for a torn one and cuts off all that follows, which would lose acknowledged commits if the
//! file was damaged in the middle. Batches are written one after another, each durable before the next, so a torn one
//! has nothing behind it: what follows a broken batch shows whether it was torn or damaged. Each batch carries a marker
//! that no client can know ([`marker_key`]); the torn one has at most one.
//!
//! The layout of fjall 3 that is read here (little-endian): batch = start (1, count u32, sequence u64), items (2, type,
//! compression, keyspace u64, key length u16, value length u32, stored length u32, key, value) or clears (4, keyspace
//! u64), end (3, xxh3 of the items u64, `FJL` 3). A test reads what the engine has written.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use rustix::{fs::SeekFrom as Sparse, io::Errno};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// A batch at the end of the active journal that was not written to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    pub(crate) journal: PathBuf,
    /// Where it starts.
    pub(crate) at: u64,
}

/// What reading the engine's files has found.
#[derive(Debug)]
pub(crate) enum Damage {
    /// They are not what the engine wrote.
    Corrupt(String),
    /// They could not be read.
    Io(PathBuf, io::Error),
}

/// The key of a row that every batch writes; its value is the revision, big-endian.
pub(crate) fn marker_key(store_id: u128) -> Vec<u8> {
    [&[0xff][..], b"revision/", &store_id.to_be_bytes()].concat()
}

/// Checks journals and manifests.
pub(crate) fn verify(engine: &Path, marker: &[u8]) -> Result<Option<Torn>, Damage> {
    verify_manifests(engine)?;
    let journals = list_journals(engine)?;
    let mut torn = None;
    for (index, (_, path)) in journals.iter().enumerate() {
        let active = index + 1 == journals.len();
        let scan = scan(path, marker).map_err(|error| Damage::Io(path.clone(), error))?;
        match scan.after {
            After::Nothing => {}
            After::Something { markers } if active && markers <= 1 => {
                torn = Some(Torn { journal: path.clone(), at: scan.valid });
            }
            After::Something { .. } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                return Err(Damage::Corrupt(format!("journal {name} is broken at byte {}", scan.valid)));
            }
        }
    }
    Ok(torn)
}

/// Cuts off a torn batch.
pub(crate) fn cut(torn: &Torn) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(&torn.journal)?;
    file.set_len(torn.at)?;
    file.sync_all()
}

/// Each keyspace (0 is the engine's own, 1 is ours) names its current version file and that file's checksum.
fn verify_manifests(engine: &Path) -> Result<(), Damage> {
    let read = |path: PathBuf| match fs::read(&path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let path = path.strip_prefix(engine).unwrap_or(&path).display().to_string();
            Err(Damage::Corrupt(format!("{path} is missing")))
        }
        Err(error) => Err(Damage::Io(path, error)),
    };
    if read(engine.join("version"))? != [b'F', b'J', b'L', 3] {
        return Err(Damage::Corrupt("the engine's version file is not as written".to_owned()));
    }
    read(engine.join("lock"))?;
    for keyspace in ["0", "1"] {
        let folder = engine.join("keyspaces").join(keyspace);
        let current = read(folder.join("current"))?;
        let parsed = current.first_chunk::<8>().zip(current.get(8..24).and_then(|sum| sum.first_chunk::<16>()));
        let Some((version, sum)) = parsed.filter(|_| current.len() == 25) else {
            return Err(Damage::Corrupt(format!("keyspaces/{keyspace}/current is not as written")));
        };
        let version = u64::from_le_bytes(*version);
        if xxh3_128(&read(folder.join(format!("v{version}")))?) != u128::from_le_bytes(*sum) {
            return Err(Damage::Corrupt(format!("keyspaces/{keyspace}/v{version} is not as written")));
        }
    }
    Ok(())
}

/// All journals, oldest first; only the oldest are ever removed, so there is no gap.
fn list_journals(engine: &Path) -> Result<Vec<(u64, PathBuf)>, Damage> {
    let at = |error| Damage::Io(engine.to_owned(), error);
    let mut journals = Vec::new();
    for entry in fs::read_dir(engine).map_err(at)? {
        let path = entry.map_err(at)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")) else { continue };
        let number = name.parse().map_err(|_| Damage::Corrupt(format!("{name}.jnl is not a journal's name")))?;
        journals.push((number, path));
    }
    journals.sort();
    if journals.is_empty() {
        return Err(Damage::Corrupt("there is no journal".to_owned()));
    }
    for pair in journals.windows(2) {
        if pair[0].0 + 1 != pair[1].0 {
            return Err(Damage::Corrupt(format!("journal {}.jnl is missing", pair[0].0 + 1)));
        }
    }
    Ok(journals)
}

struct Scan {
    /// Up to here are whole batches.
    valid: u64,
    after: After,
}

enum After {
    /// Zeros, or the end of the file.
    Nothing,
    Something {
        markers: usize,
    },
}

fn scan(path: &Path, marker: &[u8]) -> io::Result<Scan> {
    let mut reader = Reader { file: BufReader::with_capacity(256 << 10, File::open(path)?), position: 0 };
    let mut valid = 0;
    while reader.batch()? {
        valid = reader.position;
    }
    let rest = data_after(reader.file.into_inner(), valid)?;
    let after = if rest.iter().all(|byte| *byte == 0) {
        After::Nothing
    } else {
        After::Something { markers: rest.windows(marker.len()).filter(|window| *window == marker).count() }
    };
    Ok(Scan { valid, after })
}

struct Reader {
    file: BufReader<File>,
    position: u64,
}

impl Reader {
    /// Reads a batch. False: there is no whole one here.
    fn batch(&mut self) -> io::Result<bool> {
        match self.whole_batch() {
            Ok(whole) => Ok(whole),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn whole_batch(&mut self) -> io::Result<bool> {
        let mut hash = Xxh3::new();
        let [1, count @ .., _, _, _, _, _, _, _, _] = self.take::<13>()? else { return Ok(false) };
        for _ in 0..u32::from_le_bytes(count) {
            if !self.entry(&mut hash)? {
                return Ok(false);
            }
        }
        let [3, sum @ .., b'F', b'J', b'L', 3] = self.take::<13>()? else { return Ok(false) };
        Ok(u64::from_le_bytes(sum) == hash.digest())
    }

    fn entry(&mut self, hash: &mut Xxh3) -> io::Result<bool> {
        let [tag] = self.take::<1>()?;
        hash.update(&[tag]);
        let length = match tag {
            2 => {
                let header = self.take::<20>()?;
                hash.update(&header);
                let [_, _, _, _, _, _, _, _, _, _, key @ .., _, _, _, _, s0, s1, s2, s3] = header;
                u64::from(u16::from_le_bytes(key)) + u64::from(u32::from_le_bytes([s0, s1, s2, s3]))
            }
            4 => 8,
            _ => return Ok(false),
        };
        self.hash_next(length, hash)?;
        Ok(true)
    }

    fn take<const LENGTH: usize>(&mut self) -> io::Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.file.read_exact(&mut bytes)?;
        self.position += LENGTH as u64;
        Ok(bytes)
    }

    /// Goes past `length` bytes without keeping them: a broken length must not cost memory.
    fn hash_next(&mut self, mut length: u64, hash: &mut Xxh3) -> io::Result<()> {
        let mut chunk = [0; 4096];
        while length > 0 {
            let part = usize::try_from(length).map_or(chunk.len(), |length| length.min(chunk.len()));
            self.file.read_exact(&mut chunk[..part])?;
            hash.update(&chunk[..part]);
            length -= part as u64;
            self.position += part as u64;
        }
        Ok(())
    }
}

/// The bytes from `start` on, without holes: a fresh journal is a large hole.
fn data_after(mut file: File, start: u64) -> io::Result<Vec<u8>> {
    let (mut data, mut position) = (Vec::new(), start);
    loop {
        let from = match rustix::fs::seek(&file, Sparse::Data(position)) {
            Ok(from) => from,
            Err(Errno::NXIO) => return Ok(data),
            Err(error) => return Err(error.into()),
        };
        let to = rustix::fs::seek(&file, Sparse::Hole(from))?;
        file.seek(SeekFrom::Start(from))?;
        file.by_ref().take(to - from).read_to_end(&mut data)?;
        position = to;
    }
}
