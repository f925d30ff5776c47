# The code that is written into a process's vDSO, x86-64, Intel syntax. It only ever runs there
# (and, copied into a page of its own, in the tests): nothing here is linked to. All addresses
# inside are relative to the instruction pointer, so it runs wherever it is put, and go by local
# labels, so that there is nothing for a linker to resolve.
#
# Layout, which payload.rs knows by the labels:
#
#   clock_gettime | gettimeofday | time | apply | call | park | original (a slot, filled at install)
#   | data
#
# Every routine follows the C calling convention as the vDSO's own do: it may be called on a small
# stack (Go calls on its scheduler's), keeps rbx, rbp and r12 to r15, and can be interrupted by a
# signal at any instruction, since all it owns is registers and its own stack frame.

    .section .rodata.schism_clock, "a", @progbits
    .balign 64
    .globl schism_clock_start, schism_clock_gettimeofday, schism_clock_time
    .globl schism_clock_call, schism_clock_park, schism_clock_original, schism_clock_data, schism_clock_end
    .hidden schism_clock_start, schism_clock_gettimeofday, schism_clock_time
    .hidden schism_clock_call, schism_clock_park, schism_clock_original, schism_clock_data, schism_clock_end

# int clock_gettime(edi: clock, rsi: struct timespec *)
schism_clock_start:
    cmp     edi, 11
    ja      .Lschism_original       # ids beyond the table are not ours: dynamic, per process, auxiliary
    mov     eax, 0xbf3                  # real time 0 5 8 11, monotonic 1 4 6 7 9; not the CPU-time clocks
    bt      eax, edi
    jnc     .Lschism_original
    push    rsi
    push    rdi
    sub     rsp, 8                      # the ABI wants rsp a multiple of 16 at a call
    call    .Lschism_original
    add     rsp, 8
    pop     rdi
    pop     rsi
    test    eax, eax
    jnz     3f
    xor     r8d, r8d
    mov     eax, 0x2d2
    bt      eax, edi
    jnc     2f
    mov     r8d, 32                     # the monotonic line lies 32 bytes behind the real-time line
2:  call    .Lschism_apply
    mov     [rsi], rax
    mov     [rsi + 8], rdx
    xor     eax, eax
3:  ret

# int gettimeofday(rdi: struct timeval *, rsi: struct timezone *), from the nanosecond clock:
# shifting the microseconds instead would disagree with clock_gettime by one now and then.
schism_clock_gettimeofday:
    push    rdi
    sub     rsp, 16
    test    rsi, rsi
    jz      1f
    xor     edi, edi
    mov     eax, 96                     # the time zone, which nobody hurries for: gettimeofday(NULL, tz)
    syscall
    test    eax, eax
    jnz     3f
    mov     rdi, [rsp + 16]
1:  xor     eax, eax
    test    rdi, rdi
    jz      3f
    xor     edi, edi                    # CLOCK_REALTIME
    mov     rsi, rsp
    call    .Lschism_original
    test    eax, eax
    jnz     3f
    mov     rsi, rsp
    xor     r8d, r8d
    call    .Lschism_apply
    mov     rdi, [rsp + 16]
    mov     [rdi], rax
    imul    rdx, rdx, 274877907         # / 1000, exact below 2^32: 274877907 = ceil(2^38 / 1000)
    shr     rdx, 38
    mov     [rdi + 8], rdx
    xor     eax, eax
3:  add     rsp, 24
    ret

# time_t time(rdi: time_t *), from the same coarse clock as the original, but with its nanoseconds:
# without them a shift of half a second would turn the second at the wrong moment.
schism_clock_time:
    push    rdi
    sub     rsp, 16
    mov     edi, 5                      # CLOCK_REALTIME_COARSE
    mov     rsi, rsp
    call    .Lschism_original
    cdqe
    test    eax, eax
    jnz     3f
    mov     rsi, rsp
    xor     r8d, r8d
    call    .Lschism_apply
    mov     rdi, [rsp + 16]
    test    rdi, rdi
    jz      3f
    mov     [rdi], rax
3:  add     rsp, 24
    ret

# rsi: the true struct timespec, r8: 0 or 32, which line. Gives rax: seconds, rdx: nanoseconds.
# Keeps rsi. The same as Line::show.
.Lschism_apply:
    imul    rdi, [rsi], 1000000000
    add     rdi, [rsi + 8]              # true, in ns
    lea     r9, [rip + .Lschism_data]
    mov     rcx, [r9 + 80]              # where it is counted that somebody asked, if it is
    test    rcx, rcx
    jz      1f
    inc     qword ptr [rcx + r8]        # not locked: see payload.rs
    # Two slots: the writer fills the one that is not in use and then turns the sequence number, so
    # that a reader neither waits nor sees half of one shift and half of another.
1:  mov     r10, [r9 + 16]
    mov     ecx, r10d
    and     ecx, 1
    shl     ecx, 6
    add     rcx, r9
    mov     r11, [rcx + r8 + 128]       # offset
    mov     rdx, [rcx + r8 + 128 + 8]   # rate
    mov     rax, [rcx + r8 + 128 + 16]  # base
    cmp     r10, [r9 + 16]
    jne     1b
    add     r11, rdi
    test    rdx, rdx
    jz      2f
    sub     rdi, rax
    movabs  rax, 0x800000000000000      # a rate acts for 2^59 ns at most: so the quotient fits
    cmp     rdi, rax
    cmovg   rdi, rax
    neg     rax
    cmp     rdi, rax
    cmovl   rdi, rax
    mov     rax, rdi
    imul    rdx                         # 128 bits: exact
    mov     ecx, 1000000000
    idiv    rcx
    sar     rdx, 63                     # idiv rounds towards zero: down, for a clock that never steps back
    add     r11, rdx
    add     r11, rax
2:  xor     eax, eax
    test    r11, r11
    cmovs   r11, rax                    # there is no time before zero
    mov     rax, r11
    shr     rax, 9
    movabs  rdx, 0x44b82fa09b5a53       # ceil(2^84 / 1e9): / 2^9 before, / 2^75 after, exact for 64 bits
    mul     rdx
    shr     rdx, 11
    mov     rax, rdx
    imul    rdx, rdx, 1000000000
    sub     r11, rdx
    mov     rdx, r11
    ret

# A system call made from outside, in the registers that it was given (remote.rs).
schism_clock_call:
    syscall
# Where a call made from outside returns to and waits to be fetched (ask.rs).
schism_clock_park:
.Lschism_park:
    pause
    jmp     .Lschism_park

# The displaced first instructions of the real clock_gettime and the jump behind them, or a system
# call where they cannot be moved.
    .balign 16
schism_clock_original:
.Lschism_original:
    .fill   64, 1, 0xcc

# See payload.rs for the fields.
    .balign 64
schism_clock_data:
.Lschism_data:
    .fill   256, 1, 0
schism_clock_end:
