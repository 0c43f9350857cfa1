//! Copying between private memory and memory that another process may change at any moment.
//!
//! Two things are wanted that `ptr::copy_nonoverlapping` does not give.
//!
//! **No assumption about the shared side.** For a plain copy the compiler may assume that nobody else writes there, and may
//! take the bytes a second time where it could have kept them (LLVM forwards `memcpy`s): a check of a copy would then be
//! no check of what is used. Here each access is an assembly block or a volatile access, neither of which the compiler
//! looks into, repeats, or leaves out. What races with an honest peer is ruled out by the protocol; what races with a lying
//! one gives some bytes or others, once, in private memory.
//!
//! **Speed at every alignment.** The C library's copy of blocks from about 2 KiB is `rep movsb`, which on some processors falls
//! to a twentieth where destination and source differ by 8 modulo 4096, as they do behind any header of 8 bytes. Sixteen
//! bytes at a time, unaligned, is fast at every offset.
//!
//! Miri and the fuzzer's sanitizers cannot look into assembly. They get the version for all processors.

/// Copies `length` bytes. Both may be unaligned; they do not overlap.
///
/// # Safety
///
/// `from` is valid for reads and `to` for writes of `length` bytes. One of the two may be shared with another process; the other
/// belongs to the caller alone.
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
#[inline]
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    match length {
        16.. => {
            let mut done = 0;
            while length - done >= 64 {
                // SAFETY: 64 bytes from `done` are within `length` on both sides.
                unsafe { x86::copy_64(to.wrapping_add(done), from.wrapping_add(done)) };
                done += 64;
            }
            while length - done >= 16 {
                // SAFETY: 16 bytes from `done` are within `length` on both sides.
                unsafe { x86::copy_16(to.wrapping_add(done), from.wrapping_add(done)) };
                done += 16;
            }
            if done < length {
                // The last 16 bytes, some of them for the second time.
                let last = length - 16;
                // SAFETY: `length` is at least 16, and 16 bytes from `last` end at `length`.
                unsafe { x86::copy_16(to.wrapping_add(last), from.wrapping_add(last)) };
            }
        }
        8.. => {
            let last = length - 8;
            // SAFETY: `length` is at least 8.
            unsafe { x86::copy_8(to, from) };
            // SAFETY: 8 bytes from `last` end at `length`.
            unsafe { x86::copy_8(to.wrapping_add(last), from.wrapping_add(last)) };
        }
        4.. => {
            let last = length - 4;
            // SAFETY: `length` is at least 4.
            unsafe { x86::copy_4(to, from) };
            // SAFETY: 4 bytes from `last` end at `length`.
            unsafe { x86::copy_4(to.wrapping_add(last), from.wrapping_add(last)) };
        }
        // SAFETY: handed on.
        _ => unsafe { copy_bytes(to, from, length) },
    }
}

/// Copies `length` bytes, eight at a time.
///
/// # Safety
///
/// As the other version's.
#[cfg(not(all(target_arch = "x86_64", not(any(miri, fuzzing)))))]
#[inline]
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: handed on.
    unsafe { copy_words(to, from, length) }
}

/// The version for all processors. It is compiled everywhere so that it is tested everywhere.
///
/// # Safety
///
/// As for [`copy`].
#[cfg_attr(all(target_arch = "x86_64", not(any(miri, fuzzing)), not(test)), expect(dead_code))]
unsafe fn copy_words(to: *mut u8, from: *const u8, length: usize) {
    /// Packed, so that it may lie anywhere; where the processor cannot load that at once, the compiler takes it apart.
    #[derive(Clone, Copy)]
    #[repr(C, packed)]
    struct Word(u64);

    let mut done = 0;
    while length - done >= size_of::<Word>() {
        // SAFETY: a word from `done` is within `length`, and needs no alignment.
        let word = unsafe { from.wrapping_add(done).cast::<Word>().read_volatile() };
        // SAFETY: likewise.
        unsafe { to.wrapping_add(done).cast::<Word>().write_volatile(word) };
        done += size_of::<Word>();
    }
    // SAFETY: what is left ends at `length`.
    unsafe { copy_bytes(to.wrapping_add(done), from.wrapping_add(done), length - done) };
}

/// # Safety
///
/// As for [`copy`].
#[inline]
unsafe fn copy_bytes(to: *mut u8, from: *const u8, length: usize) {
    for at in 0..length {
        // SAFETY: `at` is less than `length`.
        let byte = unsafe { from.wrapping_add(at).read_volatile() };
        // SAFETY: `at` is less than `length`.
        unsafe { to.wrapping_add(at).write_volatile(byte) };
    }
}

#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
mod x86 {
    //! One block each, all of it loaded before any of it is stored.

    use std::arch::asm;

    /// # Safety
    ///
    /// 64 bytes can be read at `from` and written at `to`.
    #[inline(always)]
    pub(super) unsafe fn copy_64(to: *mut u8, from: *const u8) {
        // SAFETY: reads 64 bytes at `from` and writes 64 at `to`, unaligned accesses all.
        unsafe {
            asm!(
                "movdqu {a}, [{from}]",
                "movdqu {b}, [{from} + 16]",
                "movdqu {c}, [{from} + 32]",
                "movdqu {d}, [{from} + 48]",
                "movdqu [{to}], {a}",
                "movdqu [{to} + 16], {b}",
                "movdqu [{to} + 32], {c}",
                "movdqu [{to} + 48], {d}",
                from = in(reg) from,
                to = in(reg) to,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        }
    }

    /// # Safety
    ///
    /// 16 bytes can be read at `from` and written at `to`.
    #[inline(always)]
    pub(super) unsafe fn copy_16(to: *mut u8, from: *const u8) {
        // SAFETY: reads 16 bytes at `from` and writes 16 at `to`, unaligned accesses both.
        unsafe {
            asm!(
                "movdqu {a}, [{from}]",
                "movdqu [{to}], {a}",
                from = in(reg) from,
                to = in(reg) to,
                a = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        }
    }

    /// # Safety
    ///
    /// 8 bytes can be read at `from` and written at `to`.
    #[inline(always)]
    pub(super) unsafe fn copy_8(to: *mut u8, from: *const u8) {
        // SAFETY: reads 8 bytes at `from` and writes 8 at `to`, unaligned accesses both.
        unsafe {
            asm!(
                "mov {a}, [{from}]",
                "mov [{to}], {a}",
                from = in(reg) from,
                to = in(reg) to,
                a = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
    }

    /// # Safety
    ///
    /// 4 bytes can be read at `from` and written at `to`.
    #[inline(always)]
    pub(super) unsafe fn copy_4(to: *mut u8, from: *const u8) {
        // SAFETY: reads 4 bytes at `from` and writes 4 at `to`, unaligned accesses both.
        unsafe {
            asm!(
                "mov {a:e}, [{from}]",
                "mov [{to}], {a:e}",
                from = in(reg) from,
                to = in(reg) to,
                a = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Copy = unsafe fn(*mut u8, *const u8, usize);

    /// Copies between all small offsets, and looks that nothing beside the destination changes.
    fn check(copy: Copy, lengths: impl Iterator<Item = usize> + Clone, offsets: usize) {
        let source: Vec<u8> = (0..9000_u32).map(|number| ((number * 31) >> 3) as u8).collect();
        for to in 0..offsets {
            for from in 0..offsets {
                for length in lengths.clone() {
                    let mut target = vec![0xa5; to + length + 20];
                    let (bytes, room) = (source[from..].as_ptr(), target[to..].as_mut_ptr());
                    // SAFETY: `from` and `length` end within the 9000 bytes of the source, and the target is longer than both.
                    unsafe { copy(room, bytes, length) };
                    assert_eq!(
                        target[to..to + length],
                        source[from..from + length],
                        "{to} {from} {length}"
                    );
                    assert!(target[..to].iter().all(|&byte| byte == 0xa5));
                    assert!(target[to + length..].iter().all(|&byte| byte == 0xa5));
                }
            }
        }
    }

    #[test]
    fn every_small_length_and_offset() {
        let (lengths, offsets) = if cfg!(miri) { (20, 3) } else { (140, 9) };
        check(copy, 0..lengths, offsets);
        check(copy_words, 0..lengths, offsets);
    }

    #[test]
    fn long_ones_too() {
        for length in [511, 512, 4096, 8191] {
            check(copy, std::iter::once(length), 2);
            check(copy_words, std::iter::once(length), 2);
        }
    }
}
