// SPDX-License-Identifier: GPL-2.0
/*
 * A small baseline JPEG encoder, ITU-T T.81: chrominance of half the width and
 * height, the typical Huffman tables of K.3.3, the quantization tables of K.1.
 */
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "vjpeg-jpeg.h"

/* The picture in the Exif header: so many pixels of the upper left corner. */
#define THUMBNAIL	32

/* Quantized values are divided by multiplication: see vjpeg_set_quality. */
#define RECIPROCAL_BITS	20

struct vjpeg_code {
	u16 bits;
	u8 length;
};

struct vjpeg_encoder {
	struct vjpeg_code dc[2][12], ac[2][256];	/* luminance, chrominance */
	u8 steps[2][64];				/* by row and column */
	u32 reciprocals[2][64];
	int last_dc[3];
	s16 blocks[6][64];	/* 4 of Y, Cb, Cr: 16x16 pixels */

	u8 *at, *end;
	bool full;		/* there was no room */
	u32 bits;		/* not written yet, the last is the lowest */
	unsigned int bit_count;
};

/* The place of each coefficient in the zigzag, by row and column: A.3.6. */
static const u8 zigzag[64] = {
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
};

static const u8 typical_steps[2][64] = {
	{
		16, 11, 10, 16, 24, 40, 51, 61,
		12, 12, 14, 19, 26, 58, 60, 55,
		14, 13, 16, 24, 40, 57, 69, 56,
		14, 17, 22, 29, 51, 87, 80, 62,
		18, 22, 37, 56, 68, 109, 103, 77,
		24, 35, 55, 64, 81, 104, 113, 92,
		49, 64, 78, 87, 103, 121, 120, 101,
		72, 92, 95, 98, 112, 100, 103, 99,
	}, {
		17, 18, 24, 47, 99, 99, 99, 99,
		18, 21, 26, 66, 99, 99, 99, 99,
		24, 26, 56, 99, 99, 99, 99, 99,
		47, 66, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
	}
};

/* A DHT segment: B.2.4.2. Of each table 16 counts by length, then symbols. */
static const u8 huffman_tables[] =
	"\xff\xc4\x01\xa2"
	/* luminance DC */
	"\x00\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00"
	"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"
	/* luminance AC */
	"\x10\x00\x02\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7d"
	"\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07"
	"\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0"
	"\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28"
	"\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49"
	"\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69"
	"\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89"
	"\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7"
	"\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5"
	"\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2"
	"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8"
	"\xf9\xfa"
	/* chrominance DC */
	"\x01\x00\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00"
	"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"
	/* chrominance AC */
	"\x11\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05\x04\x04\x00\x01\x02\x77"
	"\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71"
	"\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\xc1\x09\x23\x33\x52\xf0"
	"\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26"
	"\x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48"
	"\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68"
	"\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87"
	"\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5"
	"\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3"
	"\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda"
	"\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8"
	"\xf9\xfa";

/*
 * cosines[k][n] is c(k) / 2 * cos((2n + 1) * k * pi / 16), in units of 1/8192.
 * The other half of each row is the same backwards: negative where k is odd.
 */
static const s16 cosines[8][4] = {
	{ 2896,  2896,  2896,  2896 },
	{ 4017,  3406,  2276,   799 },
	{ 3784,  1567, -1567, -3784 },
	{ 3406,  -799, -4017, -2276 },
	{ 2896, -2896, -2896,  2896 },
	{ 2276, -4017,   799,  3406 },
	{ 1567, -3784,  3784, -1567 },
	{  799, -2276,  3406, -4017 },
};

/* C.2: codes of one length are consecutive, and longer ones continue them. */
static const u8 *vjpeg_read_table(const u8 *table, struct vjpeg_code *codes)
{
	const u8 *symbol = table + 17; /* after the table's number, and counts */
	unsigned int length, i;
	u16 bits = 0;

	for (length = 1; length <= 16; length++, bits <<= 1) {
		for (i = 0; i < table[length]; i++, bits++, symbol++) {
			codes[*symbol].bits = bits;
			codes[*symbol].length = length;
		}
	}
	return symbol;
}

struct vjpeg_encoder *vjpeg_encoder_new(void)
{
	struct vjpeg_encoder *e = kzalloc(sizeof(*e), GFP_KERNEL);
	const u8 *table = huffman_tables + 4;
	int i;

	if (!e)
		return NULL;
	for (i = 0; i < 2; i++) {
		table = vjpeg_read_table(table, e->dc[i]);
		table = vjpeg_read_table(table, e->ac[i]);
	}
	return e;
}

/* Output */

static void vjpeg_put(struct vjpeg_encoder *e, u8 byte)
{
	if (e->at < e->end)
		*e->at++ = byte;
	else
		e->full = true;
}

static void vjpeg_put16(struct vjpeg_encoder *e, u16 value)
{
	vjpeg_put(e, value >> 8);
	vjpeg_put(e, value);
}

static void vjpeg_put_bytes(struct vjpeg_encoder *e, const u8 *bytes, size_t n)
{
	while (n--)
		vjpeg_put(e, *bytes++);
}

/* At most 16 bits. A byte FF is followed by 00, to be no marker: F.1.2.3. */
static void vjpeg_put_bits(struct vjpeg_encoder *e, u32 bits, unsigned int count)
{
	e->bits = e->bits << count | bits;
	e->bit_count += count;
	while (e->bit_count >= 8) {
		u8 byte = e->bits >> (e->bit_count -= 8);

		vjpeg_put(e, byte);
		if (byte == 0xff)
			vjpeg_put(e, 0);
	}
}

/* Headers */

/*
 * The scale is that of the IJG's library. A step q divides by multiplication:
 * the quotient of n up to 1200 and q is n * ceil(2^20 / q) >> 20.
 */
static void vjpeg_set_quality(struct vjpeg_encoder *e, unsigned int quality)
{
	unsigned int scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
	unsigned int step;
	int table, i;

	for (table = 0; table < 2; table++) {
		for (i = 0; i < 64; i++) {
			step = (typical_steps[table][i] * scale + 50) / 100;
			step = clamp(step, 1U, 255U);
			e->steps[table][i] = step;
			e->reciprocals[table][i] =
				DIV_ROUND_UP(1 << RECIPROCAL_BITS, step);
		}
	}
}

static void vjpeg_put_jfif(struct vjpeg_encoder *e)
{
	static const u8 jfif[] = {
		0xff, 0xe0, 0, 16, 'J', 'F', 'I', 'F', 0,
		1, 1,			/* version */
		0, 0, 1, 0, 1,		/* pixels are square */
		0, 0			/* no thumbnail */
	};

	vjpeg_put_bytes(e, jfif, sizeof(jfif));
}

static void vjpeg_put_picture(struct vjpeg_encoder *e,
			      const struct vjpeg_picture *p, bool exif);

/*
 * Exif, 4.5: a directory of the picture, which has its orientation alone, and
 * one of the thumbnail, which follows.
 */
static void vjpeg_put_exif(struct vjpeg_encoder *e,
			   const struct vjpeg_picture *p)
{
	static const u8 head[] = {
		0xff, 0xe1, 0, 0, 'E', 'x', 'i', 'f', 0, 0,
		/* 0 */ 'M', 'M', 0, 42, 0, 0, 0, 8,
		/* 8 */ 0, 1,
		0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 1, 0, 0, /* orientation */
		/* 22 */ 0, 0, 0, 26,
		/* 26 */ 0, 3,
		0x01, 0x03, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, /* it is a JPEG */
		0x02, 0x01, 0, 4, 0, 0, 0, 1, 0, 0, 0, 68, /* where it is */
		0x02, 0x02, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, /* its length */
		/* 64 */ 0, 0, 0, 0,
		/* 68 */
	};
	struct vjpeg_picture thumbnail = *p;
	u8 *begin = e->at, *lengths = begin + sizeof(head) - 6;
	size_t length;

	vjpeg_put_bytes(e, head, sizeof(head));
	thumbnail.width = min_t(u32, p->width, THUMBNAIL);
	thumbnail.height = min_t(u32, p->height, THUMBNAIL);
	vjpeg_put_picture(e, &thumbnail, false);
	if (e->full)
		return;
	length = e->at - begin - sizeof(head);
	lengths[0] = length >> 8;
	lengths[1] = length;
	length += sizeof(head) - 2; /* of the segment: all but its marker */
	begin[2] = length >> 8;
	begin[3] = length;
}

static void vjpeg_put_tables(struct vjpeg_encoder *e)
{
	int table, i;

	for (table = 0; table < 2; table++) { /* DQT, B.2.4.1 */
		vjpeg_put16(e, 0xffdb);
		vjpeg_put16(e, 3 + 64);
		vjpeg_put(e, table);
		for (i = 0; i < 64; i++)
			vjpeg_put(e, e->steps[table][zigzag[i]]);
	}
	vjpeg_put_bytes(e, huffman_tables, sizeof(huffman_tables) - 1);
}

/* The headers of the frame, B.2.2, and of its only scan, B.2.3. */
static void vjpeg_put_frame(struct vjpeg_encoder *e,
			    const struct vjpeg_picture *p)
{
	unsigned int i;

	vjpeg_put16(e, 0xffc0);
	vjpeg_put16(e, 8 + 3 * p->components);
	vjpeg_put(e, 8);
	vjpeg_put16(e, p->height);
	vjpeg_put16(e, p->width);
	vjpeg_put(e, p->components);
	for (i = 0; i < p->components; i++) {
		vjpeg_put(e, i + 1);
		vjpeg_put(e, i == 0 && p->components == 3 ? 0x22 : 0x11);
		vjpeg_put(e, i > 0);
	}

	vjpeg_put16(e, 0xffda);
	vjpeg_put16(e, 6 + 2 * p->components);
	vjpeg_put(e, p->components);
	for (i = 0; i < p->components; i++) {
		vjpeg_put(e, i + 1);
		vjpeg_put(e, i > 0 ? 0x11 : 0x00);
	}
	vjpeg_put(e, 0);
	vjpeg_put(e, 63);
	vjpeg_put(e, 0);
}

/* Blocks */

/* Eight values, which are stride apart: A.3.3, the terms that go together added. */
static void vjpeg_dct8(s16 *v, unsigned int stride, unsigned int shift)
{
	int sum[4], difference[4], k, n;

	for (n = 0; n < 4; n++) {
		int a = v[n * stride], b = v[(7 - n) * stride];

		sum[n] = a + b;
		difference[n] = a - b;
	}
	for (k = 0; k < 8; k++) {
		const int *x = k & 1 ? difference : sum;
		const s16 *c = cosines[k];
		int total = x[0] * c[0] + x[1] * c[1] + x[2] * c[2] + x[3] * c[3];

		v[k * stride] = (total + (1 << (shift - 1))) >> shift;
	}
}

/* Between the two passes values are in units of 1/8. */
static void vjpeg_dct(s16 *block)
{
	int i;

	for (i = 0; i < 8; i++)
		vjpeg_dct8(block + 8 * i, 1, 13 - 3);
	for (i = 0; i < 8; i++)
		vjpeg_dct8(block + i, 8, 13 + 3);
}

static int vjpeg_quantize(struct vjpeg_encoder *e, int table, int i, int value)
{
	u32 n = abs(value) + e->steps[table][i] / 2;
	int quotient = n * e->reciprocals[table][i] >> RECIPROCAL_BITS;

	return value < 0 ? -quotient : quotient;
}

/* F.1.2: a code for the count of bits, and of zeros before, then the bits. */
static void vjpeg_put_value(struct vjpeg_encoder *e,
			    const struct vjpeg_code *codes, int zeros, int value)
{
	int size = fls(abs(value));
	const struct vjpeg_code *code = &codes[zeros << 4 | size];

	if (value < 0)
		value += (1 << size) - 1;
	vjpeg_put_bits(e, code->bits, code->length);
	vjpeg_put_bits(e, value, size);
}

static void vjpeg_put_block(struct vjpeg_encoder *e, s16 *block, int component)
{
	int table = component > 0;
	const struct vjpeg_code *ac = e->ac[table];
	int i, value, zeros = 0;

	vjpeg_dct(block);
	value = vjpeg_quantize(e, table, 0, block[0]);
	vjpeg_put_value(e, e->dc[table], 0, value - e->last_dc[component]);
	e->last_dc[component] = value;

	for (i = 1; i < 64; i++) {
		value = vjpeg_quantize(e, table, zigzag[i], block[zigzag[i]]);
		if (!value) {
			zeros++;
			continue;
		}
		for (; zeros > 15; zeros -= 16)
			vjpeg_put_bits(e, ac[0xf0].bits, ac[0xf0].length);
		vjpeg_put_value(e, ac, zeros, value);
		zeros = 0;
	}
	if (zeros)
		vjpeg_put_bits(e, ac[0].bits, ac[0].length);
}

/* Samples. Beyond the edges of the picture there is the edge. */

static int vjpeg_sample(const struct vjpeg_picture *p, int component,
			u32 x, u32 y)
{
	const struct vjpeg_samples *s = &p->samples[component];

	x = min(x, p->width - 1) >> s->hshift;
	y = min(y, p->height - 1) >> s->vshift;
	return s->data[y * s->stride + x * s->step];
}

static void vjpeg_fill_luma(const struct vjpeg_picture *p, s16 *block,
			    u32 left, u32 top)
{
	u32 x, y;

	for (y = top; y < top + 8; y++)
		for (x = left; x < left + 8; x++)
			*block++ = vjpeg_sample(p, 0, x, y) - 128;
}

/* Of two rows where the picture has chrominance in each. */
static void vjpeg_fill_chroma(const struct vjpeg_picture *p, int component,
			      s16 *block, u32 left, u32 top)
{
	u32 x, y;

	for (y = top; y < top + 16; y += 2)
		for (x = left; x < left + 16; x += 2)
			*block++ = (vjpeg_sample(p, component, x, y) +
				    vjpeg_sample(p, component, x, y + 1) + 1) / 2 - 128;
}

/* JFIF's equations, in units of 1/65536, are those of BT.601 with all 256 levels. */
static void vjpeg_fill_rgb(const struct vjpeg_picture *p, s16 (*blocks)[64],
			   u32 left, u32 top)
{
	u32 x, y;

	memset(blocks[4], 0, 2 * sizeof(blocks[4]));
	for (y = 0; y < 16; y++) {
		for (x = 0; x < 16; x++) {
			int r = vjpeg_sample(p, 0, left + x, top + y);
			int g = vjpeg_sample(p, 1, left + x, top + y);
			int b = vjpeg_sample(p, 2, left + x, top + y);
			int luma = 19595 * r + 38470 * g + 7471 * b;
			int pair = y / 2 * 8 + x / 2;

			blocks[y / 8 * 2 + x / 8][y % 8 * 8 + x % 8] =
				((luma + 32768) >> 16) - 128;
			blocks[4][pair] += (-11059 * r - 21709 * g + 32768 * b) >> 14;
			blocks[5][pair] += (32768 * r - 27439 * g - 5329 * b) >> 14;
		}
	}
	/* Sums of four, in units of 1/4. Pure blue and red would be 127.5. */
	for (x = 0; x < 64; x++) {
		blocks[4][x] = min((blocks[4][x] + 8) >> 4, 127);
		blocks[5][x] = min((blocks[5][x] + 8) >> 4, 127);
	}
}

static void vjpeg_put_grey(struct vjpeg_encoder *e,
			   const struct vjpeg_picture *p)
{
	u32 x, y;

	for (y = 0; y < p->height; y += 8) {
		for (x = 0; x < p->width; x += 8) {
			vjpeg_fill_luma(p, e->blocks[0], x, y);
			vjpeg_put_block(e, e->blocks[0], 0);
		}
	}
}

static void vjpeg_put_colour(struct vjpeg_encoder *e,
			     const struct vjpeg_picture *p)
{
	u32 x, y;
	int i;

	for (y = 0; y < p->height; y += 16) {
		for (x = 0; x < p->width; x += 16) {
			if (p->rgb) {
				vjpeg_fill_rgb(p, e->blocks, x, y);
			} else {
				for (i = 0; i < 4; i++)
					vjpeg_fill_luma(p, e->blocks[i],
							x + i % 2 * 8, y + i / 2 * 8);
				vjpeg_fill_chroma(p, 1, e->blocks[4], x, y);
				vjpeg_fill_chroma(p, 2, e->blocks[5], x, y);
			}
			for (i = 0; i < 6; i++)
				vjpeg_put_block(e, e->blocks[i], i < 4 ? 0 : i - 3);
		}
	}
}

static void vjpeg_put_picture(struct vjpeg_encoder *e,
			      const struct vjpeg_picture *p, bool exif)
{
	vjpeg_put16(e, 0xffd8);
	if (exif)
		vjpeg_put_exif(e, p);
	else
		vjpeg_put_jfif(e);
	vjpeg_put_tables(e);
	vjpeg_put_frame(e, p);

	memset(e->last_dc, 0, sizeof(e->last_dc));
	e->bit_count = 0;
	if (p->components == 1)
		vjpeg_put_grey(e, p);
	else
		vjpeg_put_colour(e, p);
	if (e->bit_count % 8)
		vjpeg_put_bits(e, 0x7f >> (e->bit_count - 1), 8 - e->bit_count);
	vjpeg_put16(e, 0xffd9);
}

size_t vjpeg_encode(struct vjpeg_encoder *e, const struct vjpeg_picture *p,
		    unsigned int quality, bool exif, u8 *out, size_t size)
{
	e->at = out;
	e->end = out + size;
	e->full = false;
	vjpeg_set_quality(e, quality);
	vjpeg_put_picture(e, p, exif);
	return e->full ? 0 : e->at - out;
}
