// A plugin of QEMU that counts the loads from a range of addresses by their size. It prints
// how many there were of 1, 2, 4, 8 and 16 bytes.
//
//	gcc -shared -fPIC -o loads.so loads.c
//	qemu-arm -plugin ./loads.so,start=0x50000000,end=0x50100000 program
//
// The declarations are those of include/qemu/qemu-plugin.h that it uses; Debian has no package
// with that file.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*translated)(uint64_t id, struct qemu_plugin_tb *tb);
typedef void (*accessed)(unsigned cpu, uint32_t info, uint64_t address, void *data);
typedef void (*exited)(uint64_t id, void *data);
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translated f);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, accessed f, int flags, int kinds, void *data);
extern void qemu_plugin_register_atexit_cb(uint64_t id, exited f, void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
extern unsigned qemu_plugin_mem_size_shift(uint32_t info);
extern bool qemu_plugin_mem_is_store(uint32_t info);

int qemu_plugin_version = 1;

static uint64_t start, end;
static unsigned long loads[5]; // by the logarithm of their size

static void load(unsigned cpu, uint32_t info, uint64_t address, void *data)
{
	(void)cpu, (void)data;
	unsigned shift = qemu_plugin_mem_size_shift(info);
	if (!qemu_plugin_mem_is_store(info) && address >= start && address < end && shift < 5)
		__atomic_fetch_add(&loads[shift], 1, __ATOMIC_RELAXED);
}

// translate asks for loads and stores: QEMU 7.2 takes the one for the other.
static void translate(uint64_t id, struct qemu_plugin_tb *tb)
{
	enum { no_registers = 0, both = 3 };
	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++)
		qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), load, no_registers, both, NULL);
}

static void print(uint64_t id, void *data)
{
	(void)id, (void)data;
	fprintf(stderr, "loads %lu %lu %lu %lu %lu\n", loads[0], loads[1], loads[2], loads[3], loads[4]);
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "start=", 6))
			start = strtoull(argv[i] + 6, NULL, 0);
		if (!strncmp(argv[i], "end=", 4))
			end = strtoull(argv[i] + 4, NULL, 0);
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	qemu_plugin_register_atexit_cb(id, print, NULL);
	return 0;
}
