/* Multiboot entry of processor 0, the entry of processor 1, and the page of code that is changed. */
    .section .text.boot, "ax"
    .align 4
    .long 0x1BADB002, 0, -(0x1BADB002)
    .globl _start
_start:
    cli
    mov $stack0, %esp
    call main
1:  hlt
    jmp 1b

    .section .text
    .globl ap16, ap16_end, int3_entry, other_entry
    .code16
ap16:                       /* copied to 0x8000 */
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl 0x8000 + (gdtr - ap16)
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $ap32
    .align 4
gdtr: .word 23
    .long gdt
ap16_end:
    .code32
ap32:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $stack1, %esp
    call ap_main
1:  hlt
    jmp 1b
int3_entry:
    pusha
    lea 32(%esp), %eax      /* eip, cs, eflags */
    push %eax
    call on_int3
    add $4, %esp
    popa
    iret
other_entry:
    call on_fault

    .data
    .align 8
    .globl gdt
gdt: .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff

    .bss
    .align 16
    .skip 16384
stack0:
    .skip 16384
stack1:

    /* The code that is changed: work that takes long to translate, the byte, and the return. */
    .section .patched, "awx"
    .align 4096
    .globl site, byte
site:
    .rept 40
    add $3, %ecx
    rol $5, %ecx
    .endr
byte: nop
    ret
    /* Keeps the page one that holds translated code. */
    .globl neighbour
neighbour:
    add $1, %ecx
    ret
    .align 4096

    .section .note.GNU-stack, "", @progbits
