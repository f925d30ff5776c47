// The code that is written into a process's vDSO, AArch64. What payload_x86_64.s says at its head
// holds here too; this vDSO has no time(). Stacks keep their 16-byte alignment, x19 to x28 are
// left alone, and the entries are reached by direct branches, so they need no landing pads (BTI).
//
// Layout:  clock_gettime | gettimeofday | apply | call | park | original (a slot, filled at install) | data

    .section .rodata.schism_clock, "a", @progbits
    .balign 64
    .globl schism_clock_start, schism_clock_gettimeofday
    .globl schism_clock_call, schism_clock_park, schism_clock_original, schism_clock_data, schism_clock_end
    .hidden schism_clock_start, schism_clock_gettimeofday
    .hidden schism_clock_call, schism_clock_park, schism_clock_original, schism_clock_data, schism_clock_end

// int clock_gettime(w0: clock, x1: struct timespec *)
schism_clock_start:
    cmp     w0, #11
    b.hi    .Lschism_original           // ids beyond the table are not ours
    mov     w9, #0xbf3                  // real time 0 5 8 11, monotonic 1 4 6 7 9; not the CPU-time clocks
    lsr     w9, w9, w0
    tbz     w9, #0, .Lschism_original
    stp     x29, x30, [sp, #-32]!
    mov     x29, sp
    stp     x0, x1, [sp, #16]
    bl      .Lschism_original
    cbnz    w0, 3f
    ldp     x0, x1, [sp, #16]
    mov     w9, #0x2d2
    lsr     w9, w9, w0
    ubfiz   w2, w9, #5, #1              // the monotonic line lies 32 bytes behind the real-time line
    bl      .Lschism_apply
    stp     x9, x10, [x1]
    mov     w0, #0
3:  ldp     x29, x30, [sp], #32
    ret

// int gettimeofday(x0: struct timeval *, x1: struct timezone *)
schism_clock_gettimeofday:
    stp     x29, x30, [sp, #-48]!
    mov     x29, sp
    str     x0, [sp, #16]
    cbz     x1, 1f
    mov     x0, #0
    mov     x8, #169                    // the time zone, which nobody hurries for: gettimeofday(NULL, tz)
    svc     #0
    cbnz    w0, 3f
1:  ldr     x0, [sp, #16]
    cbz     x0, 3f
    mov     w0, #0                      // CLOCK_REALTIME
    add     x1, sp, #32
    bl      .Lschism_original
    cbnz    w0, 3f
    add     x1, sp, #32
    mov     w2, #0
    bl      .Lschism_apply
    ldr     x0, [sp, #16]
    mov     w11, #1000
    udiv    x10, x10, x11
    stp     x9, x10, [x0]
    mov     w0, #0
3:  ldp     x29, x30, [sp], #48
    ret

// x1: the true struct timespec, w2: 0 or 32, which line. Gives x9: seconds, x10: nanoseconds.
// Keeps x1. The same as Line::show.
.Lschism_apply:
    mov     w3, #0xca00
    movk    w3, #0x3b9a, lsl #16        // 1e9
    ldp     x9, x10, [x1]
    madd    x9, x9, x3, x10             // true, in ns
    adr     x10, .Lschism_data
    ldr     x4, [x10, #80]              // where it is counted that somebody asked, if it is
    cbz     x4, 1f
    ldr     x5, [x4, w2, uxtw]
    add     x5, x5, #1
    str     x5, [x4, w2, uxtw]
    // Two slots: the writer fills the one that is not in use and then turns the sequence number.
1:  ldr     x11, [x10, #16]
    dmb     ishld
    and     x12, x11, #1
    add     x12, x10, x12, lsl #6
    add     x12, x12, w2, uxtw
    ldp     x13, x14, [x12, #128]       // offset, rate
    ldr     x15, [x12, #144]            // base
    dmb     ishld
    ldr     x12, [x10, #16]
    cmp     x11, x12
    b.ne    1b
    add     x13, x13, x9
    cbz     x14, 2f
    sub     x9, x9, x15
    mov     x4, #0x800000000000000      // a rate acts for 2^59 ns at most: so the products fit
    cmp     x9, x4
    csel    x9, x4, x9, gt
    cmn     x9, x4
    csneg   x9, x9, x4, ge
    // There is no division of 128 bits. With rate = rq * 1e9 + rr and dt = dq * 1e9 + dr, both rests
    // below 1e9 and not negative, rate * dt / 1e9 = rate * dq + rq * dr + rr * dr / 1e9, and only
    // the last term is rounded: exact, and down.
    sdiv    x5, x9, x3
    msub    x6, x5, x3, x9              // dq = x5, dr = x6
    asr     x7, x6, #63
    add     x5, x5, x7
    msub    x6, x7, x3, x6
    sdiv    x11, x14, x3
    msub    x12, x11, x3, x14           // rq = x11, rr = x12
    asr     x7, x12, #63
    add     x11, x11, x7
    msub    x12, x7, x3, x12
    madd    x13, x14, x5, x13
    madd    x13, x11, x6, x13
    mul     x12, x12, x6
    udiv    x12, x12, x3
    add     x13, x13, x12
2:  bic     x13, x13, x13, asr #63      // there is no time before zero
    udiv    x9, x13, x3
    msub    x10, x9, x3, x13
    ret

// A system call made from outside, in the registers that it was given (remote.rs).
schism_clock_call:
    svc     #0
// Where a call made from outside returns to and waits to be fetched (ask.rs).
schism_clock_park:
.Lschism_park:
    b       .Lschism_park

// The displaced one or two first instructions of the real clock_gettime and the branch behind them,
// or a system call where they cannot be moved. With this the code is six lines of cache exactly: a
// vDSO of one page has little room.
schism_clock_original:
.Lschism_original:
    .fill   3, 4, 0

// See payload.rs for the fields.
    .balign 64
schism_clock_data:
.Lschism_data:
    .fill   256, 1, 0
schism_clock_end:
