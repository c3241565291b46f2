// Imitates another x86-64 processor for the libraries of a process: it answers the CPUID instruction as the processor
// named by IMITATED_PROCESSOR would. Maker, model, instructions and sizes of caches are those of that processor;
// instructions that this machine lacks stay off.
//
// The dynamic loader loads it by LD_AUDIT and calls la_objopen for each library before any of its code runs
// (rtld-audit(7)). There, each CPUID instruction listed in the file INSTRUCTIONS becomes an undefined one of the same
// length, so that it raises SIGILL. The loader itself runs before; GLIBC_TUNABLES limits it.

#define _GNU_SOURCE
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { UNSUPPORTED = 99 };
static const uint8_t CPUID[] = {0x0F, 0xA2}, UNDEFINED[] = {0x0F, 0xFF};  // UD0, which no compiler writes
#define BIT(number) (1u << (number))

typedef struct {
    uint32_t a, b, c, d;
} Registers;

typedef struct {
    const char *name;
    uint32_t model;  // as in leaf 1
    int amd, avx512, vnni, bf16, vaes;
    uint32_t l1, l2, l3;  // KiB
} Processor;

static const Processor PROCESSORS[] = {
    {"haswell", 0x306F2, .l1 = 32, .l2 = 256, .l3 = 30720},
    {"skylake", 0x50654, .avx512 = 1, .l1 = 32, .l2 = 1024, .l3 = 22528},
    {"icelake", 0x606A6, .avx512 = 1, .vnni = 1, .vaes = 1, .l1 = 48, .l2 = 1280, .l3 = 61440},
    {"zen2", 0x830F10, .amd = 1, .l1 = 32, .l2 = 512, .l3 = 16384},
    {"zen3", 0xA00F11, .amd = 1, .vaes = 1, .l1 = 32, .l2 = 512, .l3 = 32768},
    {"zen4", 0xA10F11, .amd = 1, .avx512 = 1, .vnni = 1, .bf16 = 1, .vaes = 1, .l1 = 32, .l2 = 1024, .l3 = 32768},
    {"zen5", 0xB00F21, .amd = 1, .avx512 = 1, .vnni = 1, .bf16 = 1, .vaes = 1, .l1 = 48, .l2 = 1024, .l3 = 32768},
};
static const Processor *imitated;

static Registers of_this_machine(uint32_t leaf, uint32_t part) {
    Registers r;
    __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(part));
    return r;
}

static void set_maker(Registers *r) {  // "AuthenticAMD" or "GenuineIntel"
    r->b = imitated->amd ? 0x68747541 : 0x756E6547;
    r->d = imitated->amd ? 0x69746E65 : 0x49656E69;
    r->c = imitated->amd ? 0x444D4163 : 0x6C65746E;
}

static Registers cache(uint32_t part, uint32_t sharing) {  // L1 for data, L1 for instructions, L2, L3
    static const uint32_t types[] = {1, 2, 3, 3}, levels[] = {1, 1, 2, 3};
    Registers r = {0, 0, 0, 0};
    if (part > 3) return r;
    const uint32_t sizes[] = {imitated->l1, 32, imitated->l2, imitated->l3}, kib = sizes[part];
    const uint32_t ways = part == 0 && kib == 48 ? 12 : part == 3 ? 16 : 8;
    r.a = types[part] | levels[part] << 5 | BIT(8) | (sharing & 0xFFFFC000u);
    r.b = 63 | (ways - 1) << 22;  // lines of 64 bytes
    r.c = kib * 1024 / 64 / ways - 1;
    return r;
}

static void limit_instructions(Registers *r) {  // leaf 7
    r->a = imitated->bf16;
    if (!imitated->avx512)
        r->b &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));
    if (!imitated->vaes) r->b &= ~(BIT(21) | BIT(29));
    if (!imitated->vnni) r->c &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));
    if (!imitated->vaes) r->c &= ~(BIT(8) | BIT(9) | BIT(10));
    r->d &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(14) | BIT(20) | BIT(22) | BIT(23) | BIT(24) | BIT(25));  // AMX, fp16, …
}

static Registers answer(uint32_t leaf, uint32_t part) {
    const Registers nothing = {0, 0, 0, 0};
    const uint32_t one_line = 8u << 16 | BIT(8) | 64;
    Registers r = of_this_machine(leaf, part);
    switch (leaf) {
        case 0x00:
            set_maker(&r);
            r.a = imitated->amd ? 0x10 : 0x16;
            break;
        case 0x01: r.a = imitated->model; break;
        case 0x02: return imitated->amd ? nothing : r;
        case 0x04: return imitated->amd ? nothing : cache(part, r.a);
        case 0x07:
            if (part == 0) {
                limit_instructions(&r);
            } else {
                r = nothing;
                r.a = part == 1 && imitated->bf16 ? BIT(5) : 0;
            }
            break;
        case 0x0D:
            if (part == 0) r.a &= imitated->avx512 ? 0xE7u : 0x07u;  // registers to save: none of AMX
            if (part > 9) return nothing;
            break;
        case 0x14: case 0x19: case 0x1C: case 0x1D: case 0x1E: case 0x1F: case 0x20: return nothing;
        case 0x80000000u:
            if (imitated->amd) {
                set_maker(&r);
                r.a = 0x80000028u;
            }
            break;
        case 0x80000001u:
            if (imitated->amd) {
                r.a = imitated->model;
                r.c |= BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(22);  // caches are described in leaf 0x8000001D
            }
            break;
        case 0x80000002u: case 0x80000003u: case 0x80000004u: {  // the name, 16 bytes a leaf
            char name[48] = {0};
            snprintf(name, sizeof name, "%s processor", imitated->amd ? "AMD EPYC" : "Intel(R) Xeon(R)");
            memcpy(&r, name + 16 * (leaf - 0x80000002u), 16);
            break;
        }
        case 0x80000005u:
            if (imitated->amd) {
                r.a = r.b = 0xFF40FF40u;
                r.c = imitated->l1 << 24 | one_line;
                r.d = 32u << 24 | one_line;
            }
            break;
        case 0x80000006u:
            r.c = imitated->l2 << 16 | 6u << 12 | BIT(8) | 64;
            r.d = imitated->amd ? imitated->l3 / 512 << 18 | 9u << 12 | BIT(8) | 64 : 0;
            break;
        case 0x8000001Du: return imitated->amd ? cache(part, 0) : r;
        case 0x8000001Eu:
            if (imitated->amd) {
                r.a = r.b = of_this_machine(1, 0).b >> 24;
                r.c = r.d = 0;
            }
            break;
        default:
            if (imitated->amd && leaf > 0x80000008u && leaf < 0x80000030u) return nothing;
    }
    return r;
}

static void answer_cpuid(int number, siginfo_t *information, void *context) {
    (void)information;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (memcmp((const void *)registers[REG_RIP], UNDEFINED, sizeof UNDEFINED)) {  // another fault
        signal(number, SIG_DFL);
        return;
    }
    Registers r = answer((uint32_t)registers[REG_RAX], (uint32_t)registers[REG_RCX]);
    registers[REG_RAX] = r.a;
    registers[REG_RBX] = r.b;
    registers[REG_RCX] = r.c;
    registers[REG_RDX] = r.d;
    registers[REG_RIP] += sizeof UNDEFINED;
}

static void end(const char *reason) {
    fprintf(stderr, "no processor is imitated: %s\n", reason);
    _exit(UNSUPPORTED);
}

static void replace(uint8_t *instruction) {
    uint8_t *page = (uint8_t *)((uintptr_t)instruction & -(uintptr_t)getpagesize());
    const size_t length = (size_t)(instruction + sizeof CPUID - page);
    if (memcmp(instruction, CPUID, sizeof CPUID)) end("the list of instructions is not that of this library");
    if (mprotect(page, length, PROT_READ | PROT_WRITE | PROT_EXEC)) end("code cannot be changed");
    memcpy(instruction, UNDEFINED, sizeof UNDEFINED);
    mprotect(page, length, PROT_READ | PROT_EXEC);
}

unsigned int la_version(unsigned int version) {
    const char *name = getenv("IMITATED_PROCESSOR");
    for (size_t i = 0; name && i < sizeof PROCESSORS / sizeof *PROCESSORS; i++)
        if (!strcmp(PROCESSORS[i].name, name)) imitated = &PROCESSORS[i];
    struct sigaction action = {.sa_sigaction = answer_cpuid, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (!imitated) end("IMITATED_PROCESSOR names none");
    if (sigaction(SIGILL, &action, NULL)) end("SIGILL cannot be handled");
    return version;
}

unsigned int la_objopen(struct link_map *library, Lmid_t space, uintptr_t *cookie) {
    (void)space, (void)cookie;
    char name[PATH_MAX], listed[PATH_MAX];
    unsigned long address;
    FILE *instructions = fopen(INSTRUCTIONS, "r");  // lines of an address in hexadecimal and a library
    if (!instructions) end("the list of instructions cannot be read");
    if (realpath(library->l_name, name))
        while (fscanf(instructions, "%lx %[^\n]", &address, listed) == 2)
            if (!strcmp(name, listed)) replace((uint8_t *)(library->l_addr + address));
    fclose(instructions);
    return 0;
}
