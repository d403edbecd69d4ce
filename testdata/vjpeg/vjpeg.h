/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtual JPEG encoder: see vjpeg-core.c.
 */
#ifndef VJPEG_H
#define VJPEG_H

#include <linux/mutex.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <media/v4l2-ctrls.h>
#include <media/v4l2-device.h>
#include <media/v4l2-fh.h>
#include <media/v4l2-ioctl.h>
#include <media/v4l2-mem2mem.h>

/* Module parameters: see vjpeg-core.c. */
struct vjpeg_params {
	bool multiplanar;
	char *coded;
	bool align;
	bool exif, rubbish, stall, bad, cut, fail, busy, refuse, small, once;
	unsigned int nomem;
	unsigned int delay;	/* ms */
};

extern struct vjpeg_params vjpeg_params;

enum vjpeg_layout { GREY, PACKED, RGB, SEMIPLANAR, PLANAR };

/* A raw format. */
struct vjpeg_format {
	u32 fourcc;
	enum vjpeg_layout layout;
	u8 bytes;	/* per pixel, in the first plane */
	u8 align;	/* of bytesperline, on a Raspberry Pi */
	u8 buffers;	/* memory planes: more than 1 with the multi-planar API */
	u8 first[3];	/* of Y, Cb, Cr or R, G, B: the byte, or else the plane */
};

struct vjpeg_dev {
	struct v4l2_device v4l2_dev;
	struct video_device vfd;
	struct mutex mutex;	/* of all ioctls and queues */
	wait_queue_head_t wait;	/* for gone, and aborting of a context */
	bool gone;
};

struct vjpeg_ctx {
	struct v4l2_fh fh;
	struct vjpeg_dev *dev;
	struct v4l2_ctrl_handler ctrls;
	struct vjpeg_encoder *encoder;
	struct work_struct work;	/* the picture that is being encoded */
	bool aborting;			/* by STREAMOFF, until the next STREAMON */
	bool first;			/* nothing came back since STREAMON */
	unsigned int sequence;
	size_t length;			/* of the picture before; 0: there is none */

	const struct vjpeg_format *format;	/* of raw, which is on OUTPUT */
	struct v4l2_pix_format_mplane raw, jpeg;
	u32 width, height;			/* of the picture, in the raw one */
	struct v4l2_fract interval;		/* seconds, from picture to picture */
	int quality, bitrate;
};

static inline struct vjpeg_ctx *vjpeg_file_ctx(struct file *file)
{
	return container_of(file->private_data, struct vjpeg_ctx, fh);
}

static inline u32 vjpeg_coded(void)
{
	return strcmp(vjpeg_params.coded, "MJPG") ? V4L2_PIX_FMT_JPEG :
						    V4L2_PIX_FMT_MJPEG;
}

/* vjpeg-core.c */
extern struct v4l2_m2m_dev *vjpeg_m2m;

/* vjpeg-job.c: the encoding, and the buffers */
extern const struct v4l2_m2m_ops vjpeg_m2m_ops;
void vjpeg_work(struct work_struct *work);
int vjpeg_queue_init(void *priv, struct vb2_queue *src, struct vb2_queue *dst);

/* vjpeg-ioctl.c: formats and controls */
extern const struct v4l2_ioctl_ops vjpeg_ioctl_ops;
void vjpeg_init_formats(struct vjpeg_ctx *ctx);
int vjpeg_init_ctrls(struct vjpeg_ctx *ctx);
unsigned int vjpeg_planes(const struct vjpeg_format *format, u32 bytesperline,
			  u32 height, u32 stride[3], u32 size[3]);
struct v4l2_pix_format_mplane *vjpeg_pix(struct vjpeg_ctx *ctx, u32 type);

#endif
