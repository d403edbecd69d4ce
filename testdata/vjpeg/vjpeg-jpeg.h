/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small baseline JPEG encoder, ITU-T T.81.
 */
#ifndef VJPEG_JPEG_H
#define VJPEG_JPEG_H

#include <linux/types.h>

/* The samples of one component: 8 bits each. Cb and Cr have half as many columns. */
struct vjpeg_samples {
	const u8 *data;
	u32 stride;	/* bytes from one row to the next */
	u8 step;	/* bytes from one sample to the next */
	u8 vshift;	/* 1 where there are half as many rows as in the picture */
};

struct vjpeg_picture {
	u32 width, height;
	unsigned int components;	/* 1: grey, 3: colour */
	bool rgb;			/* R, G, B instead of Y, Cb, Cr */
	struct vjpeg_samples samples[3];
};

struct vjpeg_encoder;

struct vjpeg_encoder *vjpeg_encoder_new(void);

/*
 * vjpeg_encode - write a picture as a JPEG: 4:2:0, or grey
 * @quality: 1 to 100, as the Independent JPEG Group's library has it
 * @exif: write a header with a thumbnail, which is a JPEG inside of the JPEG
 *
 * Returns its length in bytes, 0 if it is longer than @size.
 */
size_t vjpeg_encode(struct vjpeg_encoder *e, const struct vjpeg_picture *p,
		    unsigned int quality, bool exif, u8 *out, size_t size);

#endif
