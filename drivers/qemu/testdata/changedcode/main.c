/*
 * Processor 0 changes one byte of code that processor 1 runs in a loop. It does so as Linux does (text_poke_bp): first a
 * breakpoint, then a nop. A breakpoint that still traps long after memory has the nop was translated from the old byte, and
 * traps for ever.
 *
 * Prints "ok" or "STALE" on the serial port, and powers the machine off.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum { BREAKPOINT = 0xcc, NOP = 0x90, ROUNDS = 2000, LONGEST = 100000 /* cycles that the breakpoint stays */ };

extern u8 byte[], ap16[], ap16_end[], int3_entry[], other_entry[];
extern u64 gdt[];

static struct { u16 low, selector, flags, high; } idt[256] __attribute__((aligned(8)));
struct table { u16 limit; u32 base; } __attribute__((packed));

static volatile u32 stale, passes, ready; /* written by processor 1 */

static void outb(u16 port, u8 value) { __asm__ volatile("outb %0,%1" :: "a"(value), "Nd"(port)); }
static u8 inb(u16 port) { u8 value; __asm__ volatile("inb %1,%0" : "=a"(value) : "Nd"(port)); return value; }
static u64 cycles(void) { u32 low, high; __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)); return (u64)high << 32 | low; }

static void print(const char *text)
{
    for (; *text; text++) {
        while (!(inb(0x3fd) & 0x20))
            ;
        outb(0x3f8, *text);
    }
}

static void finish(const char *text)
{
    print(text);
    __asm__ volatile("outw %0,%1" :: "a"((u16)0x2000), "Nd"((u16)0x604)); /* ACPI S5 of the board q35 */
    for (;;)
        __asm__ volatile("cli; hlt");
}

void on_fault(void) { finish("fault\n"); }

/* As Linux' poke_int3_handler: code that has changed meanwhile is run again. */
void on_int3(u32 *frame)
{
    if (*(volatile u8 *)(frame[0] - 1) != BREAKPOINT) {
        stale++;
        frame[0]--;
    }
}

static void load_idt(void)
{
    struct table idtr = { sizeof idt - 1, (u32)idt };
    __asm__ volatile("lidt %0" :: "m"(idtr));
}

void ap_main(void)
{
    load_idt();
    ready = 1;
    for (;;) {
        __asm__ volatile("call site; call neighbour" ::: "ecx", "memory", "cc");
        passes++;
    }
}

static void wait_for_passes(u32 count)
{
    u32 first = passes, before = stale;
    while (passes - first < count)
        if (stale - before > 1000000)
            finish("STALE\n");
}

static void wait_for_cycles(u64 count)
{
    u64 first = cycles();
    while (cycles() - first < count)
        ;
}

static void start_processor_1(void)
{
    volatile u32 *apic = (u32 *)0xfee00000;
    for (u32 i = 0; i < (u32)(ap16_end - ap16); i++)
        ((volatile u8 *)0x8000)[i] = ap16[i];
    apic[0xf0 / 4] = 0x1ff;                                   /* enable */
    apic[0x310 / 4] = 1 << 24; apic[0x300 / 4] = 0x4500;      /* INIT */
    wait_for_cycles(20000000);
    apic[0x310 / 4] = 1 << 24; apic[0x300 / 4] = 0x4608;      /* start at 0x8000 */
    while (!ready)
        ;
}

void main(void)
{
    struct table gdtr = { 23, (u32)gdt };
    u32 random = 1;
    __asm__ volatile("lgdt %0; ljmp $8,$1f; 1: mov %1,%%ds; mov %1,%%es; mov %1,%%ss" :: "m"(gdtr), "r"(16) : "memory");
    for (u32 i = 0; i < 32; i++) {
        u32 entry = (u32)(i == 3 ? int3_entry : other_entry);
        idt[i].low = entry, idt[i].high = entry >> 16, idt[i].selector = 8, idt[i].flags = 0x8e00;
    }
    load_idt();
    start_processor_1();
    for (u32 round = 0; round < ROUNDS; round++) {
        random = random * 1664525 + 1013904223;
        *(volatile u8 *)byte = BREAKPOINT;
        wait_for_cycles((random >> 8) % LONGEST);
        *(volatile u8 *)byte = NOP;
        wait_for_passes(3); /* here an old breakpoint may trap */
        stale = 0;
        wait_for_passes(20);
        if (stale > 0)
            finish("STALE\n");
    }
    finish("ok\n");
}
