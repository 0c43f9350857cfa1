//! Sealed anonymous files of Linux: `memfd_create(2)`, and "File Sealing" in `fcntl(2)`.
//!
//! The seals keep the other process from making the file shorter, by which every access here would become a `SIGBUS`, and from
//! adding seals that forbid writing. They do not keep it from punching holes: the bytes there become zeros, which are as good or
//! bad as any others that a lying peer writes. What remains: under strict overcommit (`vm.overcommit_memory=2`) the memory for a
//! page that is touched for the first time, or again after a punch, may be missing, which is a `SIGBUS`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use super::{Memory, Origin, Region};
use crate::copy::copy;
use crate::layout::{CONTROL, Geometry, MAGIC, VERSION, header};

/// What the two sides rely on: the file keeps its length, and nobody adds a seal.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Seals under which a ring cannot be written, now or after the next `mmap`.
const READ_ONLY: SealFlags = SealFlags::WRITE.union(SealFlags::FUTURE_WRITE);

/// `TMPFS_MAGIC` of `statfs(2)`. A memfd of huge pages is on another file system; touching it may raise `SIGBUS`.
const TMPFS: i64 = 0x0102_1994;

/// Bytes of the header, from the start of the memory.
const HEADER: usize = 24;

impl Memory {
    /// Makes memory for a ring, and the descriptor by which the other process gets it. Linux only.
    ///
    /// The descriptor is closed on `exec`. Close it when the other side has it: the mapping stays.
    ///
    /// # Errors
    ///
    /// What the system says when it has no memory, no descriptor, or no `memfd_create` (old, or forbidden by a sandbox).
    pub fn create(geometry: Geometry) -> io::Result<(Self, OwnedFd)> {
        let file = new_file()?;
        rustix::fs::ftruncate(&file, geometry.length())?;
        rustix::fs::fcntl_add_seals(&file, SEALS)?;
        let region = map(file.as_fd(), geometry.length())?;
        let mut bytes = [0; HEADER];
        bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
        let mut put = |at: usize, number: u32| bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        put(header::VERSION, VERSION);
        put(header::CONTROL, CONTROL as u32);
        put(header::CAPACITY[0], geometry.capacity(0));
        put(header::CAPACITY[1], geometry.capacity(1));
        // SAFETY: the region is longer than a header, and nobody else has it yet.
        unsafe { copy(region.start().as_ptr(), bytes.as_ptr(), HEADER) };
        Ok((Self::new(region, geometry), file))
    }

    /// Checks and maps memory that another process has made and may change at any moment. Linux only.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](io::ErrorKind::InvalidData) with what is wrong: not a file in memory, not sealed against changes of its
    /// length, sealed against writing, of another version, or of another length than its header says. Otherwise what the
    /// system says.
    pub fn receive(file: BorrowedFd<'_>) -> io::Result<Self> {
        let seals = rustix::fs::fcntl_get_seals(file).map_err(|error| match error {
            Errno::INVAL => bad("it is not a file in memory that can be sealed"),
            error => error.into(),
        })?;
        if !seals.contains(SEALS) {
            return Err(bad("its length is not sealed"));
        }
        if seals.intersects(READ_ONLY) {
            return Err(bad("it is sealed against writing"));
        }
        let file_system = rustix::fs::fstatfs(file)?.f_type as i64;
        if file_system != TMPFS {
            return Err(bad("its pages are not of the ordinary size"));
        }
        let length = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
        let longest = CONTROL as u64 + 2 * u64::from(Geometry::MAX);
        if length < CONTROL as u64 || length > longest {
            return Err(bad("its length is none that a ring can have"));
        }
        let region = map(file, length)?;
        let mut bytes = [0; HEADER];
        // SAFETY: the region is longer than a header. The bytes are copied once, and only the copy is looked at.
        unsafe { copy(bytes.as_mut_ptr(), region.start().as_ptr(), HEADER) };
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if bytes[..MAGIC.len()] != MAGIC {
            return Err(bad("it does not begin as a ring does"));
        }
        if number(header::VERSION) != VERSION || number(header::CONTROL) != CONTROL as u32 {
            return Err(bad("its layout is of another version"));
        }
        let geometry = Geometry::new(number(header::CAPACITY[0]), number(header::CAPACITY[1]))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if geometry.length() != length {
            return Err(bad("its length is not what its header says"));
        }
        Ok(Self::new(region, geometry))
    }

    fn new(region: Region, geometry: Geometry) -> Self {
        Self {
            region: Arc::new(region),
            geometry,
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("The other end sent memory that cannot be used for a ring: {what}."),
    )
}

/// Where `vm.memfd_noexec` is 2 the system demands the promise that nothing here will be executed; before Linux 6.3 it does not know it.
fn new_file() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let created = match rustix::fs::memfd_create("dotpipe-ring", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create("dotpipe-ring", flags),
        created => created,
    };
    Ok(created?)
}

fn map(file: BorrowedFd<'_>, length: u64) -> io::Result<Region> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a new mapping, at an address of the system's choice.
    let start = unsafe { rustix::mm::mmap(ptr::null_mut(), length, protection, flags, file, 0) }?;
    let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
    Ok(Region {
        start,
        length,
        origin: Origin::Mapped,
    })
}

pub(super) fn unmap(start: NonNull<u8>, length: usize) {
    // SAFETY: the region was mapped at this place with this length, and nobody has it any more.
    let unmapped = unsafe { rustix::mm::munmap(start.as_ptr().cast(), length) };
    debug_assert!(unmapped.is_ok(), "unmapping a whole mapping cannot fail");
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    fn small() -> Geometry {
        Geometry::new(4096, 8192).unwrap()
    }

    fn refusal(file: &OwnedFd) -> String {
        let error = Memory::receive(file.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        error.to_string()
    }

    /// A file as a ring's creator makes it, but for its length, seals and first bytes.
    fn forged(length: u64, seals: SealFlags, start: &[u8]) -> OwnedFd {
        let file = new_file().unwrap();
        rustix::fs::ftruncate(&file, length).unwrap();
        rustix::io::pwrite(&file, start, 0).unwrap();
        rustix::fs::fcntl_add_seals(&file, seals).unwrap();
        file
    }

    fn header_of(version: u32, capacities: [u32; 2]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [version, CONTROL as u32, capacities[0], capacities[1]] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn what_one_creates_the_other_can_receive() {
        let (memory, file) = Memory::create(small()).unwrap();
        let received = Memory::receive(file.as_fd()).unwrap();
        assert_eq!(received.geometry(), memory.geometry());
        assert_ne!(received.start(), memory.start());
    }

    #[test]
    fn the_creator_seals_length_and_seals() {
        let (_memory, file) = Memory::create(small()).unwrap();
        assert!(rustix::fs::ftruncate(&file, 0).is_err());
        assert!(rustix::fs::ftruncate(&file, 1 << 20).is_err());
        assert!(rustix::fs::fcntl_add_seals(&file, SealFlags::FUTURE_WRITE).is_err());
        assert!(
            rustix::io::fcntl_getfd(&file)
                .unwrap()
                .contains(rustix::io::FdFlags::CLOEXEC)
        );
    }

    #[test]
    fn an_idle_ring_takes_one_page() {
        let (_memory, file) = Memory::create(Geometry::default()).unwrap();
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_blocks * 512, 4096);
    }

    #[test]
    fn memory_that_can_change_its_length_is_refused() {
        let header = header_of(VERSION, [4096, 8192]);
        for missing in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL] {
            let file = forged(small().length(), SEALS.difference(missing), &header);
            assert!(refusal(&file).contains("not sealed"));
        }
        assert!(Memory::receive(forged(small().length(), SEALS, &header).as_fd()).is_ok());
    }

    #[test]
    fn memory_that_cannot_be_written_is_refused() {
        let header = header_of(VERSION, [4096, 8192]);
        for seal in [SealFlags::WRITE, SealFlags::FUTURE_WRITE] {
            let file = forged(small().length(), SEALS | seal, &header);
            assert!(refusal(&file).contains("against writing"));
        }
    }

    #[test]
    fn lengths_and_headers_that_do_not_fit_are_refused() {
        let length = small().length();
        for (length, header, text) in [
            (0, header_of(VERSION, [4096, 8192]), "none that a ring"),
            (CONTROL as u64 - 1, vec![], "none that a ring"),
            (
                u64::from(Geometry::MAX) * 2 + CONTROL as u64 + 1,
                vec![],
                "none that a ring",
            ),
            (length, vec![], "does not begin"),
            (length, header_of(2, [4096, 8192]), "another version"),
            (length, header_of(VERSION, [8192, 8192]), "not what its header says"),
            (length, header_of(VERSION, [4096, 0]), "power of two"),
            (length, header_of(VERSION, [u32::MAX, 1 << 31]), "power of two"),
        ] {
            // A file cannot hold what is longer than itself.
            let header = &header[..header.len().min(usize::try_from(length).unwrap())];
            let file = forged(length, SEALS, header);
            assert!(refusal(&file).contains(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_memory_is_refused() {
        let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(refusal(&null).contains("not a file in memory"));
    }

    #[test]
    fn huge_pages_are_refused() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
        let Ok(file) = rustix::fs::memfd_create("huge", flags) else {
            dotpipe_testkit::skip("huge_pages_are_refused", "this system makes no memory of huge pages");
            return;
        };
        rustix::fs::ftruncate(&file, 2 << 20).unwrap();
        rustix::fs::fcntl_add_seals(&file, SEALS).unwrap();
        assert!(refusal(&file).contains("ordinary size"));
    }

    /// `Memory::create` writes the same bytes on every processor.
    #[test]
    fn the_header_is_the_documented_one() {
        let (_memory, file) = Memory::create(small()).unwrap();
        let mut bytes = [0xff; 64];
        assert_eq!(rustix::io::pread(&file, &mut bytes, 0), Ok(64));
        let expected = b"dotpring\x01\0\0\0\x00\x10\0\0\x00\x10\0\0\x00\x20\0\0";
        assert_eq!(bytes[..24], *expected);
        assert!(bytes[24..].iter().all(|&byte| byte == 0));
    }
}
