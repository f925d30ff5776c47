//! Moving the first instructions of a function elsewhere, so that a jump fits over them while the
//! function can still be called.
//!
//! Most instructions mean the same anywhere; those that address relative to themselves are written
//! anew for their new place. What cannot be moved is refused with the reason, and the caller makes
//! do with a system call.

/// Instructions that have been moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    /// The same instructions for their new place, and a jump behind the last one that was moved.
    pub bytes: Vec<u8>,
}

/// The bytes of a function that its jump takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Offset in the function: behind a landing pad for indirect branches (ENDBR64, BTI), which
    /// must stay where it is.
    pub at: usize,
    pub len: usize,
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{head, jump, relocate, system_call};

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::{head, jump, relocate, system_call};

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use iced_x86::{
        BlockEncoder, BlockEncoderOptions, Code, Decoder, DecoderOptions, Instruction,
        InstructionBlock, Mnemonic, OpKind,
    };

    use super::{Head, Moved};

    /// `JMP rel32`.
    const JUMP_LEN: usize = 5;
    const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

    pub fn head(function: &[u8]) -> Head {
        Head {
            at: if function.starts_with(&ENDBR64) { 4 } else { 0 },
            len: JUMP_LEN,
        }
    }

    /// What stands in the `len` bytes of a head at `from`: a jump to `to`.
    pub fn jump(from: u64, len: usize, to: u64) -> Option<Vec<u8>> {
        let distance = i32::try_from(to.wrapping_sub(from + len as u64) as i64).ok()?;
        let [a, b, c, d] = distance.to_le_bytes();
        Some(vec![0xe9, a, b, c, d])
    }

    /// `int clock_gettime(..)` by the kernel.
    pub fn system_call() -> Vec<u8> {
        let [a, b, c, d] = (libc::SYS_clock_gettime as u32).to_le_bytes();
        vec![0xb8, a, b, c, d, 0x0f, 0x05, 0xc3] // mov eax, nr; syscall; ret
    }

    /// Moves as many instructions of the function `code` at `address` as its head covers to `to`.
    /// `others` are further functions: none may branch into what is replaced.
    pub fn relocate<'a>(
        code: &'a [u8],
        address: u64,
        head: Head,
        to: u64,
        others: impl Iterator<Item = (&'a [u8], u64)>,
    ) -> Result<Moved, String> {
        let from = address + head.at as u64;
        let mut displaced: Vec<Instruction> = Vec::new();
        let mut covered = 0;
        for instruction in Decoder::with_ip(64, &code[head.at..], from, DecoderOptions::NONE).iter()
        {
            if covered >= JUMP_LEN {
                break;
            }
            if instruction.is_invalid() {
                return Err(format!(
                    "an instruction at {:#x} is not understood",
                    instruction.ip() - address
                ));
            }
            if covered + instruction.len() < JUMP_LEN && ends_a_path(&instruction) {
                return Err(format!(
                    "the function branches away within its first {JUMP_LEN} bytes"
                ));
            }
            covered += instruction.len();
            displaced.push(instruction);
        }
        if covered < JUMP_LEN {
            return Err(format!("the function is shorter than {JUMP_LEN} bytes"));
        }
        let replaced = from..from + covered as u64;
        for (body, start) in others.chain([(code, address)]) {
            for instruction in Decoder::with_ip(64, body, start, DecoderOptions::NONE).iter() {
                let target = match instruction.op0_kind() {
                    OpKind::NearBranch64 => instruction.near_branch_target(),
                    _ => continue,
                };
                if replaced.contains(&target) {
                    return Err(format!(
                        "code at {:#x} branches into its first instructions",
                        instruction.ip()
                    ));
                }
            }
        }
        let back = Instruction::with_branch(Code::Jmp_rel32_64, replaced.end)
            .expect("the code is that of a near jump");
        displaced.push(back);
        let block = InstructionBlock::new(&displaced, to);
        let result = BlockEncoder::encode(64, block, BlockEncoderOptions::NONE)
            .map_err(|error| format!("its first instructions cannot be moved: {error}"))?;
        Ok(Moved {
            bytes: result.code_buffer,
        })
    }

    /// What follows such an instruction is reached from elsewhere, or not at all.
    fn ends_a_path(instruction: &Instruction) -> bool {
        matches!(
            instruction.mnemonic(),
            Mnemonic::Jmp | Mnemonic::Ret | Mnemonic::Int3 | Mnemonic::Ud2 | Mnemonic::Call
        )
    }
}

/// Pure functions, compiled everywhere so that they are tested everywhere.
#[cfg(any(target_arch = "aarch64", test))]
mod aarch64 {
    use super::{Head, Moved};

    const BTI_C: u32 = 0xd503_245f;
    const PACIASP: u32 = 0xd503_233f;
    const PACIBSP: u32 = 0xd503_237f;

    pub fn head(function: &[u8]) -> Head {
        match function.get(..4).map(read) {
            Some(BTI_C) => Head { at: 4, len: 4 },
            // It is a landing pad and signs the return address in one: it is moved, so that the
            // hook gets the address as it was, and a landing pad takes its place.
            Some(PACIASP | PACIBSP) => Head { at: 0, len: 8 },
            _ => Head { at: 0, len: 4 },
        }
    }

    /// What stands in the `len` bytes of a head at `from`: a branch to `to`, behind a landing pad
    /// if there is room for one.
    pub fn jump(from: u64, len: usize, to: u64) -> Option<Vec<u8>> {
        let pad = if len == 8 { &[BTI_C][..] } else { &[] };
        let branch = branch(from + 4 * pad.len() as u64, to)?;
        let words = pad.iter().copied().chain([branch]);
        Some(words.flat_map(u32::to_le_bytes).collect())
    }

    /// `B` at `from` to `to`.
    fn branch(from: u64, to: u64) -> Option<u32> {
        Some(0x1400_0000 | field(to.wrapping_sub(from) as i64 / 4, 26)?)
    }

    /// `int clock_gettime(..)` by the kernel: number 113.
    pub fn system_call() -> Vec<u8> {
        let set_number = 0xd280_0008_u32 | 113 << 5; // mov x8, #113
        let (call, back) = (0xd400_0001_u32, 0xd65f_03c0_u32); // svc #0; ret
        [set_number, call, back].map(u32::to_le_bytes).concat()
    }

    /// Moves the instructions of the function `code` at `address` that its head covers to `to`.
    pub fn relocate<'a>(
        code: &'a [u8],
        address: u64,
        head: Head,
        to: u64,
        others: impl Iterator<Item = (&'a [u8], u64)>,
    ) -> Result<Moved, String> {
        let from = address + head.at as u64;
        let sites = || (from..from + head.len as u64).step_by(4);
        for (body, start) in others.chain([(code, address)]) {
            for site in sites() {
                branches_into(body, start, site)?;
            }
        }
        let displaced = code
            .get(head.at..head.at + head.len)
            .ok_or_else(|| format!("the function is shorter than {} bytes", head.len))?;
        let mut words = Vec::new();
        for (word, site) in displaced.chunks_exact(4).map(read).zip(sites()) {
            let moved = moved(word, site, to + (site - from))
                .ok_or_else(|| format!("its instruction {word:#010x} cannot be moved"))?;
            words.push(moved);
        }
        let behind = head.len as u64;
        words.push(
            branch(to + behind, from + behind).ok_or("the room is too far from the function")?,
        );
        Ok(Moved {
            bytes: words.into_iter().flat_map(u32::to_le_bytes).collect(),
        })
    }

    fn branches_into(body: &[u8], start: u64, site: u64) -> Result<(), String> {
        for (i, word) in body.chunks_exact(4).enumerate() {
            let at = start + 4 * i as u64;
            if at != site && target(read(word), at) == Some(site) {
                return Err(format!(
                    "code at {at:#x} branches into its first instructions"
                ));
            }
        }
        Ok(())
    }

    fn read(word: &[u8]) -> u32 {
        u32::from_le_bytes(word.try_into().expect("four bytes"))
    }

    /// An instruction's operand that is relative to its own address: where its bits are.
    struct Relative {
        /// Lowest bit and number of bits of the field, which counts words.
        shift: u32,
        bits: u32,
    }

    /// Direct branches and literal loads, as the tables of the Arm ARM (C4.1) encode them.
    fn relative(word: u32) -> Option<Relative> {
        let imm19 = Relative { shift: 5, bits: 19 };
        if word & 0x7c00_0000 == 0x1400_0000 {
            Some(Relative { shift: 0, bits: 26 }) // B, BL
        } else if word & 0xfe00_0000 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 {
            Some(imm19) // B.cond, CBZ, CBNZ
        } else if word & 0x7e00_0000 == 0x3600_0000 {
            Some(Relative { shift: 5, bits: 14 }) // TBZ, TBNZ
        } else if word & 0x3b00_0000 == 0x1800_0000 {
            Some(imm19) // LDR (literal), LDRSW, PRFM
        } else {
            None
        }
    }

    fn is_adr(word: u32) -> bool {
        word & 0x1f00_0000 == 0x1000_0000 // ADR, ADRP
    }

    /// Where the instruction at `at` branches to or loads from.
    fn target(word: u32, at: u64) -> Option<u64> {
        let Relative { shift, bits } = relative(word)?;
        Some(at.wrapping_add(4_i64.wrapping_mul(signed(word >> shift, bits)) as u64))
    }

    /// The instruction `word` of address `from`, for address `to`.
    pub fn moved(word: u32, from: u64, to: u64) -> Option<u32> {
        if word & 0xfc00_0000 == 0x9400_0000 {
            return None; // BL: it would note the new place as the one to return to
        }
        if is_adr(word) {
            let page = if word >> 31 == 1 { 12 } else { 0 }; // ADRP counts pages
            let immediate = signed((word >> 5 & 0x7_ffff) << 2 | word >> 29 & 3, 21);
            let target = ((from >> page) as i64).wrapping_add(immediate);
            let field = field(target.wrapping_sub((to >> page) as i64), 21)?;
            return Some(word & 0x9f00_001f | (field & 3) << 29 | (field >> 2) << 5);
        }
        let Some(Relative { shift, bits }) = relative(word) else {
            return Some(word);
        };
        let distance = target(word, from)?.wrapping_sub(to) as i64;
        let mask = (1 << bits) - 1;
        Some(word & !(mask << shift) | field(distance / 4, bits)? << shift)
    }

    fn signed(value: u32, bits: u32) -> i64 {
        i64::from((value << (32 - bits)) as i32 >> (32 - bits))
    }

    fn field(value: i64, bits: u32) -> Option<u32> {
        let fits = (-(1 << (bits - 1))..1 << (bits - 1)).contains(&value);
        fits.then_some(value as u32 & ((1 << bits) - 1))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Both columns as GNU as 2.40 assembled them, the second one 0x100 bytes further on with
        /// the same target.
        #[test]
        fn relative_instructions_keep_their_targets() {
            let (from, to) = (0x1000, 0x1100);
            for (text, here, there) in [
                ("b 0x1200", 0x1400_0080, 0x1400_0040),
                ("b 0x0f00", 0x17ff_ffc0, 0x17ff_ff80),
                ("b.ne 0x1200", 0x5400_1001, 0x5400_0801),
                ("cbz x3, 0x1200", 0xb400_1003, 0xb400_0803),
                ("tbnz w2, #5, 0x1200", 0x3728_1002, 0x3728_0802),
                ("ldr x1, 0x1200", 0x5800_1001, 0x5800_0801),
                ("adr x0, 0x1203", 0x7000_1000, 0x7000_0800),
                ("adrp x0, 0x3000", 0xd000_0000, 0xd000_0000),
                ("mov x0, x1", 0xaa01_03e0, 0xaa01_03e0),
                ("stp x29, x30, [sp, #-16]!", 0xa9bf_7bfd, 0xa9bf_7bfd),
                ("paciasp", 0xd503_233f, 0xd503_233f),
                ("cmp w0, #1", 0x7100_041f, 0x7100_041f),
            ] {
                assert_eq!(moved(here, from, to), Some(there), "{text}");
            }
            assert_eq!(
                moved(0xd000_0000, 0x1ffc, 0x2000),
                Some(0xb000_0000),
                "adrp across a page"
            );
            // mov x8, #113; svc #0; ret
            let call = [0xd280_0e28_u32, 0xd400_0001, 0xd65f_03c0]
                .map(u32::to_le_bytes)
                .concat();
            assert_eq!(system_call(), call);
            assert_eq!(moved(0x9400_0080, from, to), None, "bl");
            assert_eq!(
                moved(0x3728_1002, from, from + 0x10_0000),
                None,
                "tbnz out of reach"
            );
        }

        #[test]
        fn a_function_is_moved_with_a_way_back() {
            let body: Vec<u8> = [0x7100_041f_u32, 0x5400_1001, 0xd65f_03c0]
                .iter()
                .flat_map(|w| w.to_le_bytes())
                .collect();
            let moved = relocate(&body, 0x1000, head(&body), 0x1100, std::iter::empty()).unwrap();
            // cmp; b 0x1004
            assert_eq!(
                moved.bytes,
                [0x1f, 0x04, 0x00, 0x71, 0xc0, 0xff, 0xff, 0x17]
            );
            // A loop back to the first instruction would run through the hook again.
            let looping: Vec<u8> = [0x7100_041f_u32, 0x17ff_ffff]
                .iter()
                .flat_map(|w| w.to_le_bytes())
                .collect();
            assert!(
                relocate(&looping, 0x1000, head(&looping), 0x1100, std::iter::empty()).is_err()
            );
        }

        /// As GNU as 2.40 assembles them.
        #[test]
        fn a_landing_pad_is_left_behind_whoever_served_as_one() {
            let code = |words: &[u32]| -> Vec<u8> {
                words.iter().flat_map(|word| word.to_le_bytes()).collect()
            };
            let (cmp, ret) = (0x7100_041f, 0xd65f_03c0);
            let padded = code(&[BTI_C, cmp, ret]);
            assert_eq!(head(&padded), Head { at: 4, len: 4 });
            let signed = code(&[PACIASP, cmp, 0xd503_23bf, ret]);
            assert_eq!(head(&signed), Head { at: 0, len: 8 });
            let moved =
                relocate(&signed, 0x1000, head(&signed), 0x1100, std::iter::empty()).unwrap();
            // paciasp; cmp w0, #1; b 0x1008 from 0x1108
            assert_eq!(moved.bytes, code(&[PACIASP, cmp, 0x17ff_ffc0]));
            // bti c; b 0x1200 from 0x1004
            let jump = jump(0x1000, 8, 0x1200).unwrap();
            assert_eq!(jump, code(&[0xd503_245f, 0x1400_007f]));
            // A loop back to the second instruction.
            let looping = code(&[PACIASP, cmp, 0x17ff_ffff]);
            assert!(
                relocate(&looping, 0x1000, head(&looping), 0x1100, std::iter::empty()).is_err()
            );
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    fn none<'a>() -> impl Iterator<Item = (&'a [u8], u64)> {
        std::iter::empty()
    }

    #[test]
    fn plain_instructions_are_copied() {
        // push rbp; mov rbp, rsp; push r14; push rbx; ret
        let code = [0x55, 0x48, 0x89, 0xe5, 0x41, 0x56, 0x53, 0xc3];
        let moved = relocate(&code, 0x1000, head(&code), 0x2000, none()).unwrap();
        // Six bytes, then jmp 0x1006 from 0x2006.
        assert_eq!(
            moved.bytes,
            [
                0x55, 0x48, 0x89, 0xe5, 0x41, 0x56, 0xe9, 0xfb, 0xef, 0xff, 0xff
            ]
        );
    }

    #[test]
    fn addresses_relative_to_the_instruction_pointer_are_kept() {
        // push rbp; lea r10, [rip-0x6818]; ret
        let code = [0x55, 0x4c, 0x8d, 0x15, 0xe8, 0x97, 0xff, 0xff, 0xc3];
        let moved = relocate(&code, 0x1000, head(&code), 0x1100, none()).unwrap();
        assert_eq!(moved.bytes[..4], [0x55, 0x4c, 0x8d, 0x15]);
        assert_eq!(
            i32::from_le_bytes(moved.bytes[4..8].try_into().unwrap()),
            -0x6818 - 0x100
        );
    }

    #[test]
    fn a_landing_pad_stays_at_the_head() {
        let code = [
            0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x89, 0xe5, 0x48, 0x89, 0xe6, 0xc3,
        ];
        assert_eq!(head(&code).at, 4);
        let moved = relocate(&code, 0x1000, head(&code), 0x2000, none()).unwrap();
        assert_eq!(moved.bytes[..6], [0x48, 0x89, 0xe5, 0x48, 0x89, 0xe6]);
    }

    #[test]
    fn what_cannot_be_moved_is_refused() {
        // A loop into the second instruction: push rbp; mov rbp, rsp; push r14; jmp -5
        let looping = [0x55, 0x48, 0x89, 0xe5, 0x41, 0x56, 0xeb, 0xf9];
        assert!(
            relocate(&looping, 0x1000, head(&looping), 0x2000, none())
                .unwrap_err()
                .contains("branches into")
        );
        // push rbp; ret; and four more bytes that belong to somebody else
        let short = [0x55, 0xc3, 0x90, 0x90, 0x90, 0x90];
        assert!(relocate(&short, 0x1000, head(&short), 0x2000, none()).is_err());
        assert!(relocate(&short[..2], 0x1000, head(&short), 0x2000, none()).is_err());
        // Another function that calls this one: its result would be shifted twice.
        let plain = [0x55, 0x48, 0x89, 0xe5, 0x41, 0x56, 0x53, 0xc3];
        let caller = [0xe8, 0xfb, 0xef, 0xff, 0xff, 0xc3]; // at 0x2000: call 0x1000
        let others = [(&caller[..], 0x2000)].into_iter();
        assert!(
            relocate(&plain, 0x1000, head(&plain), 0x3000, others)
                .unwrap_err()
                .contains("branches into")
        );
        assert_eq!(jump(0, 5, 1 << 40), None);
    }
}
