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
#include "vjpeg-tables.h"

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

/* Cn is cos(n * pi / 16) / 2, in units of 1/8192; C4 that for 0, too: A.3.3. */
enum { C1 = 4017, C2 = 3784, C3 = 3406, C4 = 2896, C5 = 2276, C6 = 1567, C7 = 799 };

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

/* Eight values, which are stride apart: terms of one cosine are added first. */
static void vjpeg_dct8(s16 *v, unsigned int stride, unsigned int shift)
{
	int v0 = v[0], v1 = v[stride], v2 = v[2 * stride], v3 = v[3 * stride];
	int v4 = v[4 * stride], v5 = v[5 * stride], v6 = v[6 * stride];
	int v7 = v[7 * stride];
	int a0 = v0 + v7, a1 = v1 + v6, a2 = v2 + v5, a3 = v3 + v4;
	int d0 = v0 - v7, d1 = v1 - v6, d2 = v2 - v5, d3 = v3 - v4;
	int half = 1 << (shift - 1);

	v[0] = ((a0 + a3 + a1 + a2) * C4 + half) >> shift;
	v[stride] = (d0 * C1 + d1 * C3 + d2 * C5 + d3 * C7 + half) >> shift;
	v[2 * stride] = ((a0 - a3) * C2 + (a1 - a2) * C6 + half) >> shift;
	v[3 * stride] = (d0 * C3 - d1 * C7 - d2 * C1 - d3 * C5 + half) >> shift;
	v[4 * stride] = ((a0 + a3 - a1 - a2) * C4 + half) >> shift;
	v[5 * stride] = (d0 * C5 - d1 * C1 + d2 * C7 + d3 * C3 + half) >> shift;
	v[6 * stride] = ((a0 - a3) * C6 - (a1 - a2) * C2 + half) >> shift;
	v[7 * stride] = (d0 * C7 - d1 * C5 + d2 * C3 - d3 * C1 + half) >> shift;
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

/*
 * Samples. Beyond the edges of the picture there is the edge. Copies of what does
 * not change stay in registers, while what pointers point to does not.
 */

static const u8 *vjpeg_row(const struct vjpeg_picture *p, int component, u32 y)
{
	const struct vjpeg_samples *s = &p->samples[component];

	return s->data + (min(y, p->height - 1) >> s->vshift) * s->stride;
}

static void vjpeg_fill_luma(const struct vjpeg_picture *p, s16 *block,
			    u32 left, u32 top)
{
	const u32 step = p->samples[0].step, last = p->width - 1;
	u32 x, y;

	for (y = top; y < top + 8; y++) {
		const u8 *row = vjpeg_row(p, 0, y);

		for (x = left; x < left + 8; x++)
			*block++ = row[min(x, last) * step] - 128;
	}
}

/* The mean of two rows, which are one where chrominance has half the height. */
static void vjpeg_fill_chroma(const struct vjpeg_picture *p, int component,
			      s16 *block, u32 left, u32 top)
{
	const u32 step = p->samples[component].step, last = (p->width - 1) / 2;
	u32 x, y;

	for (y = top; y < top + 16; y += 2) {
		const u8 *upper = vjpeg_row(p, component, y);
		const u8 *lower = vjpeg_row(p, component, y + 1);

		for (x = left / 2; x < left / 2 + 8; x++) {
			u32 at = min(x, last) * step;

			*block++ = (upper[at] + lower[at] + 1) / 2 - 128;
		}
	}
}

/* JFIF's equations, in units of 1/65536, are those of BT.601 with all 256 levels. */
static void vjpeg_fill_rgb(const struct vjpeg_picture *p, s16 (*blocks)[64],
			   u32 left, u32 top)
{
	u32 x, y;

	memset(blocks[4], 0, 2 * sizeof(blocks[4]));
	for (y = 0; y < 16; y++) {
		for (x = 0; x < 16; x++) {
			u32 at = min(left + x, p->width - 1) * p->samples[0].step;
			int r = vjpeg_row(p, 0, top + y)[at];
			int g = vjpeg_row(p, 1, top + y)[at];
			int b = vjpeg_row(p, 2, top + y)[at];
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
