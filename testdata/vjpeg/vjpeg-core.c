// SPDX-License-Identifier: GPL-2.0
/*
 * A virtual JPEG encoder: a memory-to-memory device, as boards have them, that
 * takes raw pictures on OUTPUT and gives JPEGs on CAPTURE. It is for tests, as
 * vivid and vicodec are, and behaves like the bcm2835-codec of a Raspberry Pi,
 * with its limits. What goes wrong with encoders does so here on demand: see the
 * parameters, most of which can be changed in /sys/module/vjpeg/parameters.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <media/v4l2-ctrls.h>
#include <media/v4l2-device.h>
#include <media/v4l2-event.h>
#include <media/v4l2-ioctl.h>
#include <media/v4l2-mem2mem.h>
#include <media/videobuf2-dma-contig.h>

#include "vjpeg-jpeg.h"

#define MIN_SIZE	32U
#define MAX_SIZE	1920U
#define ABORT_TIMEOUT	(2 * HZ)	/* that the firmware gets to return buffers */

static bool multiplanar = true;
module_param(multiplanar, bool, 0444);
MODULE_PARM_DESC(multiplanar, "the multi-planar API (default), or the single-planar");

static char *coded = "JPEG";
module_param(coded, charp, 0444);
MODULE_PARM_DESC(coded, "JPEG (default), with a quality, or MJPG, with a bit rate");

static bool align = true;
module_param(align, bool, 0444);
MODULE_PARM_DESC(align, "rows, heights and coded buffers as on a Raspberry Pi (default)");

static bool exif;
module_param(exif, bool, 0644);
MODULE_PARM_DESC(exif, "JPEGs have an Exif header with a thumbnail");

static bool rubbish;
module_param(rubbish, bool, 0644);
MODULE_PARM_DESC(rubbish, "the first coded buffer after STREAMON holds rubbish, of time 0");

static bool stall;
module_param(stall, bool, 0644);
MODULE_PARM_DESC(stall, "pictures are not finished as long as this is so");

static bool bad;
module_param(bad, bool, 0644);
MODULE_PARM_DESC(bad, "what comes back is no JPEG");

static bool cut;
module_param(cut, bool, 0644);
MODULE_PARM_DESC(cut, "JPEGs end in the middle");

static bool fail;
module_param(fail, bool, 0644);
MODULE_PARM_DESC(fail, "buffers come back with V4L2_BUF_FLAG_ERROR");

static bool busy;
module_param(busy, bool, 0644);
MODULE_PARM_DESC(busy, "open() gives EBUSY");

static unsigned int nomem;
module_param(nomem, uint, 0644);
MODULE_PARM_DESC(nomem, "REQBUFS gives ENOMEM: 1 on OUTPUT, 2 on CAPTURE, 3 on both");

static bool refuse;
module_param(refuse, bool, 0644);
MODULE_PARM_DESC(refuse, "S_FMT on CAPTURE grants another pixel format");

static bool small;
module_param(small, bool, 0644);
MODULE_PARM_DESC(small, "S_FMT on OUTPUT grants half the width and height");

static unsigned int delay;
module_param(delay, uint, 0644);
MODULE_PARM_DESC(delay, "how long a picture takes besides, in ms");

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

static const struct vjpeg_format formats[] = {
	{ V4L2_PIX_FMT_YUV420, PLANAR, 1, 32, 1, { 0, 1, 2 } },
	{ V4L2_PIX_FMT_YVU420, PLANAR, 1, 32, 1, { 0, 2, 1 } },
	{ V4L2_PIX_FMT_NV12, SEMIPLANAR, 1, 32, 1, { 0, 0, 1 } },
	{ V4L2_PIX_FMT_NV21, SEMIPLANAR, 1, 32, 1, { 0, 1, 0 } },
	{ V4L2_PIX_FMT_YUYV, PACKED, 2, 64, 1, { 0, 1, 3 } },
	{ V4L2_PIX_FMT_UYVY, PACKED, 2, 64, 1, { 1, 0, 2 } },
	{ V4L2_PIX_FMT_RGB24, RGB, 3, 32, 1, { 0, 1, 2 } },
	{ V4L2_PIX_FMT_BGR24, RGB, 3, 32, 1, { 2, 1, 0 } },
	{ V4L2_PIX_FMT_GREY, GREY, 1, 32, 1, { 0 } },
	{ V4L2_PIX_FMT_NV12M, SEMIPLANAR, 1, 32, 2, { 0, 0, 1 } },
	{ V4L2_PIX_FMT_YUV420M, PLANAR, 1, 32, 3, { 0, 1, 2 } },
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

	const struct vjpeg_format *format;	/* of raw, which is on OUTPUT */
	struct v4l2_pix_format_mplane raw, jpeg;
	u32 width, height;			/* of the picture, in the raw one */
	struct v4l2_fract interval;		/* seconds, from picture to picture */
	int quality, bitrate;
};

/*
 * v4l2-mem2mem schedules work of its own when a job is finished, and nobody can
 * wait for that. So this is not freed with the device, but with the module.
 */
static struct v4l2_m2m_dev *vjpeg_m2m;

static struct vjpeg_ctx *file_to_ctx(struct file *file)
{
	return container_of(file->private_data, struct vjpeg_ctx, fh);
}

static u32 vjpeg_coded(void)
{
	return strcmp(coded, "MJPG") ? V4L2_PIX_FMT_JPEG : V4L2_PIX_FMT_MJPEG;
}

/* ---- Encoding */

/* Returns the number of planes, with the bytes of their rows and of all. */
static unsigned int vjpeg_planes(const struct vjpeg_format *format,
				 u32 bytesperline, u32 height,
				 u32 stride[3], u32 size[3])
{
	stride[0] = bytesperline;
	size[0] = bytesperline * height;
	if (format->layout < SEMIPLANAR)
		return 1;
	stride[1] = DIV_ROUND_UP(bytesperline, 2);
	if (format->layout == SEMIPLANAR)
		stride[1] *= 2;
	size[1] = stride[1] * DIV_ROUND_UP(height, 2);
	if (format->layout == SEMIPLANAR)
		return 2;
	stride[2] = stride[1];
	size[2] = size[1];
	return 3;
}

/* Finds the samples in a raw buffer. */
static void vjpeg_find_samples(struct vjpeg_ctx *ctx, struct vb2_buffer *vb,
			       struct vjpeg_picture *p)
{
	const struct vjpeg_format *format = ctx->format;
	unsigned int planes, i;
	u32 stride[3], size[3];
	u8 *data[3];

	planes = vjpeg_planes(format, ctx->raw.plane_fmt[0].bytesperline,
			      ctx->raw.height, stride, size);
	for (i = 0; i < planes; i++) {
		if (i < format->buffers)
			data[i] = vb2_plane_vaddr(vb, i);
		else
			data[i] = data[i - 1] + size[i - 1];
	}

	p->width = ctx->width;
	p->height = ctx->height;
	p->components = format->layout == GREY ? 1 : 3;
	p->rgb = format->layout == RGB;
	for (i = 0; i < p->components; i++) {
		struct vjpeg_samples *s = &p->samples[i];
		unsigned int plane = 0, first = format->first[i];

		s->step = format->bytes;
		if (format->layout == PLANAR) {
			plane = first;
			first = 0;
		} else if (format->layout == SEMIPLANAR && i > 0) {
			plane = 1;
			s->step = 2;
		} else if (format->layout == PACKED && i > 0) {
			s->step = 4;
		}
		s->data = data[plane] + first;
		s->stride = stride[plane];
		s->hshift = i > 0 && format->layout != RGB;
		s->vshift = i > 0 && format->layout >= SEMIPLANAR;
	}
}

/* A crude one from the bit rate: 60 for a bit per pixel, which is about right. */
static unsigned int vjpeg_quality(struct vjpeg_ctx *ctx)
{
	u64 bits;

	if (vjpeg_coded() == V4L2_PIX_FMT_JPEG)
		return READ_ONCE(ctx->quality);
	bits = 60ULL * READ_ONCE(ctx->bitrate) * ctx->interval.numerator;
	bits = div_u64(bits, ctx->interval.denominator);
	return clamp_t(u64, div_u64(bits, ctx->width * ctx->height), 1, 100);
}

static enum vb2_buffer_state vjpeg_encode_buffer(struct vjpeg_ctx *ctx,
						 struct vb2_buffer *src,
						 struct vb2_buffer *dst)
{
	u8 *out = vb2_plane_vaddr(dst, 0);
	struct vjpeg_picture p = {};
	size_t length;

	vb2_set_plane_payload(dst, 0, 0);
	if (fail)
		return VB2_BUF_STATE_ERROR;
	vjpeg_find_samples(ctx, src, &p);
	length = vjpeg_encode(ctx->encoder, &p, vjpeg_quality(ctx), exif,
			      out, vb2_plane_size(dst, 0));
	if (!length)
		return VB2_BUF_STATE_ERROR;
	if (bad)
		memset(out, 'x', length);
	if (cut)
		length /= 2;
	vb2_set_plane_payload(dst, 0, length);
	return VB2_BUF_STATE_DONE;
}

static bool vjpeg_stopped(struct vjpeg_ctx *ctx)
{
	return READ_ONCE(ctx->aborting) || READ_ONCE(ctx->dev->gone);
}

/* Waits as long as the parameters say. False if STREAMOFF put an end to that. */
static bool vjpeg_wait(struct vjpeg_ctx *ctx)
{
	struct vjpeg_dev *dev = ctx->dev;

	/* Nobody tells when the parameter changes. */
	while (READ_ONCE(stall) && !vjpeg_stopped(ctx))
		wait_event_timeout(dev->wait, vjpeg_stopped(ctx), HZ / 50 + 1);
	if (READ_ONCE(stall) && READ_ONCE(ctx->aborting))
		wait_event_timeout(dev->wait, READ_ONCE(dev->gone), ABORT_TIMEOUT);
	if (delay)
		wait_event_timeout(dev->wait, vjpeg_stopped(ctx),
				   msecs_to_jiffies(delay));
	return !READ_ONCE(ctx->aborting);
}

/* Returns the first coded buffer with rubbish in it. */
static void vjpeg_return_rubbish(struct vjpeg_ctx *ctx)
{
	struct vb2_v4l2_buffer *dst = v4l2_m2m_dst_buf_remove(ctx->fh.m2m_ctx);

	memset(vb2_plane_vaddr(&dst->vb2_buf, 0), 'x', 1000);
	vb2_set_plane_payload(&dst->vb2_buf, 0, 1000);
	dst->vb2_buf.timestamp = 0;
	dst->sequence = ctx->sequence++;
	v4l2_m2m_buf_done(dst, VB2_BUF_STATE_DONE);
}

static void vjpeg_work(struct work_struct *work)
{
	struct vjpeg_ctx *ctx = container_of(work, struct vjpeg_ctx, work);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *src, *dst;
	enum vb2_buffer_state state = VB2_BUF_STATE_ERROR;

	/* The buffers of a job that STREAMOFF ends are returned there. */
	if (!vjpeg_wait(ctx))
		goto finish;

	src = v4l2_m2m_next_src_buf(m2m);
	if (!vb2_get_plane_payload(&src->vb2_buf, 0)) { /* the end of the stream */
		v4l2_m2m_src_buf_remove(m2m);
		v4l2_m2m_buf_done(src, VB2_BUF_STATE_DONE);
		goto finish;
	}
	if (ctx->first && rubbish)
		vjpeg_return_rubbish(ctx);
	ctx->first = false;
	dst = v4l2_m2m_next_dst_buf(m2m);
	if (!dst)
		goto finish; /* the job begins again when there is one */

	v4l2_m2m_buf_copy_metadata(src, dst, true);
	if (!READ_ONCE(ctx->dev->gone))
		state = vjpeg_encode_buffer(ctx, &src->vb2_buf, &dst->vb2_buf);
	src->sequence = ctx->sequence;
	dst->sequence = ctx->sequence++;
	v4l2_m2m_buf_done_and_job_finish(vjpeg_m2m, m2m, state);
	return;
finish:
	v4l2_m2m_job_finish(vjpeg_m2m, m2m);
}

/*
 * This is called where a buffer is queued, in an ioctl of the program. A real
 * encoder takes none of the program's time, so a kernel thread does it all.
 */
static void vjpeg_device_run(void *priv)
{
	struct vjpeg_ctx *ctx = priv;

	queue_work(system_unbound_wq, &ctx->work);
}

static void vjpeg_job_abort(void *priv)
{
	struct vjpeg_ctx *ctx = priv;

	WRITE_ONCE(ctx->aborting, true);
	wake_up_all(&ctx->dev->wait);
}

static const struct v4l2_m2m_ops vjpeg_m2m_ops = {
	.device_run = vjpeg_device_run,
	.job_abort = vjpeg_job_abort,
};

/* ---- Buffers */

static struct v4l2_pix_format_mplane *vjpeg_pix(struct vjpeg_ctx *ctx, u32 type)
{
	return V4L2_TYPE_IS_OUTPUT(type) ? &ctx->raw : &ctx->jpeg;
}

static int vjpeg_queue_setup(struct vb2_queue *vq, unsigned int *buffers,
			     unsigned int *planes, unsigned int sizes[],
			     struct device *alloc_devs[])
{
	struct v4l2_pix_format_mplane *pix;
	unsigned int i;

	if (nomem & (V4L2_TYPE_IS_OUTPUT(vq->type) ? 1 : 2))
		return -ENOMEM;
	pix = vjpeg_pix(vb2_get_drv_priv(vq), vq->type);
	if (*planes && *planes != pix->num_planes)
		return -EINVAL;
	for (i = 0; i < pix->num_planes; i++) {
		if (*planes && sizes[i] < pix->plane_fmt[i].sizeimage)
			return -EINVAL;
		if (!*planes)
			sizes[i] = pix->plane_fmt[i].sizeimage;
	}
	*planes = pix->num_planes;
	return 0;
}

static int vjpeg_buf_prepare(struct vb2_buffer *vb)
{
	struct v4l2_pix_format_mplane *pix;
	unsigned int i;

	pix = vjpeg_pix(vb2_get_drv_priv(vb->vb2_queue), vb->type);
	to_vb2_v4l2_buffer(vb)->field = V4L2_FIELD_NONE;
	for (i = 0; i < pix->num_planes; i++)
		if (vb2_plane_size(vb, i) < pix->plane_fmt[i].sizeimage)
			return -EINVAL;
	return 0;
}

static void vjpeg_buf_queue(struct vb2_buffer *vb)
{
	struct vjpeg_ctx *ctx = vb2_get_drv_priv(vb->vb2_queue);

	v4l2_m2m_buf_queue(ctx->fh.m2m_ctx, to_vb2_v4l2_buffer(vb));
}

static int vjpeg_start_streaming(struct vb2_queue *vq, unsigned int count)
{
	struct vjpeg_ctx *ctx = vb2_get_drv_priv(vq);

	ctx->aborting = false;
	ctx->first = true;
	ctx->sequence = 0;
	return 0;
}

static void vjpeg_stop_streaming(struct vb2_queue *vq)
{
	struct vjpeg_ctx *ctx = vb2_get_drv_priv(vq);
	struct vb2_v4l2_buffer *vbuf;

	for (;;) {
		if (V4L2_TYPE_IS_OUTPUT(vq->type))
			vbuf = v4l2_m2m_src_buf_remove(ctx->fh.m2m_ctx);
		else
			vbuf = v4l2_m2m_dst_buf_remove(ctx->fh.m2m_ctx);
		if (!vbuf)
			return;
		v4l2_m2m_buf_done(vbuf, VB2_BUF_STATE_ERROR);
	}
}

static const struct vb2_ops vjpeg_vb2_ops = {
	.queue_setup = vjpeg_queue_setup,
	.buf_prepare = vjpeg_buf_prepare,
	.buf_queue = vjpeg_buf_queue,
	.start_streaming = vjpeg_start_streaming,
	.stop_streaming = vjpeg_stop_streaming,
	.wait_prepare = vb2_ops_wait_prepare,
	.wait_finish = vb2_ops_wait_finish,
};

/* Buffers of dma-contig, whose mapping is not cached on most boards. */
static int vjpeg_queue_init(void *priv, struct vb2_queue *src,
			    struct vb2_queue *dst)
{
	struct vjpeg_ctx *ctx = priv;
	struct vb2_queue *queues[] = { src, dst };
	int i, ret;

	src->type = multiplanar ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE :
				  V4L2_BUF_TYPE_VIDEO_OUTPUT;
	src->allow_zero_bytesused = 1;
	dst->type = multiplanar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE :
				  V4L2_BUF_TYPE_VIDEO_CAPTURE;
	for (i = 0; i < ARRAY_SIZE(queues); i++) {
		struct vb2_queue *q = queues[i];

		q->io_modes = VB2_MMAP | VB2_DMABUF;
		q->drv_priv = ctx;
		q->buf_struct_size = sizeof(struct v4l2_m2m_buffer);
		q->ops = &vjpeg_vb2_ops;
		q->mem_ops = &vb2_dma_contig_memops;
		q->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
		q->lock = &ctx->dev->mutex;
		q->dev = ctx->dev->v4l2_dev.dev;
		ret = vb2_queue_init(q);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- Formats */

static const struct vjpeg_format *vjpeg_find_format(u32 fourcc)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i].fourcc == fourcc &&
		    (multiplanar || formats[i].buffers == 1))
			return &formats[i];
	return &formats[0];
}

/* As on a Raspberry Pi, the height that is granted is that of the buffer. */
static void vjpeg_try_raw(struct v4l2_pix_format_mplane *pix)
{
	const struct vjpeg_format *format = vjpeg_find_format(pix->pixelformat);
	u32 bytesperline, least, stride[3], size[3];
	unsigned int planes, i;

	pix->pixelformat = format->fourcc;
	pix->width = clamp(pix->width >> small, MIN_SIZE, MAX_SIZE);
	pix->height = clamp(pix->height >> small, MIN_SIZE, MAX_SIZE);
	if (align && vjpeg_coded() == V4L2_PIX_FMT_JPEG)
		pix->height = ALIGN(pix->height, 16);

	least = pix->width * format->bytes;
	if (format->layout == PACKED)
		least = ALIGN(least, 4);
	bytesperline = clamp(pix->plane_fmt[0].bytesperline, least, 2 * least);
	if (align)
		bytesperline = ALIGN(bytesperline, format->align);

	planes = vjpeg_planes(format, bytesperline, pix->height, stride, size);
	memset(pix->plane_fmt, 0, sizeof(pix->plane_fmt));
	pix->num_planes = format->buffers;
	for (i = 0; i < planes; i++) {
		if (i < format->buffers)
			pix->plane_fmt[i].bytesperline = stride[i];
		pix->plane_fmt[min_t(u32, i, format->buffers - 1)].sizeimage += size[i];
	}
}

static void vjpeg_try_jpeg(struct v4l2_pix_format_mplane *pix)
{
	u32 least, asked = pix->plane_fmt[0].sizeimage;

	pix->pixelformat = refuse ? V4L2_PIX_FMT_H264 : vjpeg_coded();
	pix->width = clamp(pix->width, MIN_SIZE, MAX_SIZE);
	pix->height = clamp(pix->height, MIN_SIZE, MAX_SIZE);
	if (!align)
		least = 4096 + 2 * pix->width * pix->height;
	else if (vjpeg_coded() == V4L2_PIX_FMT_JPEG)
		least = 4 << 20;
	else
		least = 512 << 10;
	memset(pix->plane_fmt, 0, sizeof(pix->plane_fmt));
	pix->num_planes = 1;
	pix->plane_fmt[0].sizeimage = clamp(asked, least, 16U << 20);
}

static void vjpeg_try(u32 type, struct v4l2_pix_format_mplane *pix)
{
	if (V4L2_TYPE_IS_OUTPUT(type))
		vjpeg_try_raw(pix);
	else
		vjpeg_try_jpeg(pix);
	pix->field = V4L2_FIELD_NONE;
	pix->flags = 0;
	if (pix->colorspace == V4L2_COLORSPACE_DEFAULT)
		pix->colorspace = V4L2_COLORSPACE_JPEG;
}

/* The two APIs have different structures for the same. */
static void vjpeg_from_single(const struct v4l2_pix_format *single,
			      struct v4l2_pix_format_mplane *pix)
{
	*pix = (struct v4l2_pix_format_mplane) {
		.width = single->width,
		.height = single->height,
		.pixelformat = single->pixelformat,
		.colorspace = single->colorspace,
	};
	pix->plane_fmt[0].bytesperline = single->bytesperline;
	pix->plane_fmt[0].sizeimage = single->sizeimage;
}

static void vjpeg_to_format(const struct v4l2_pix_format_mplane *pix,
			    struct v4l2_format *f)
{
	if (multiplanar) {
		f->fmt.pix_mp = *pix;
		return;
	}
	f->fmt.pix = (struct v4l2_pix_format) {
		.width = pix->width,
		.height = pix->height,
		.pixelformat = pix->pixelformat,
		.field = pix->field,
		.bytesperline = pix->plane_fmt[0].bytesperline,
		.sizeimage = pix->plane_fmt[0].sizeimage,
		.colorspace = pix->colorspace,
	};
}

/* The queue of a type, NULL if that is of the other API. */
static struct vb2_queue *vjpeg_queue(struct vjpeg_ctx *ctx, u32 type)
{
	struct vb2_queue *vq = v4l2_m2m_get_vq(ctx->fh.m2m_ctx, type);

	return vq->type == type ? vq : NULL;
}

static int vjpeg_g_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct vjpeg_ctx *ctx = file_to_ctx(file);

	if (!vjpeg_queue(ctx, f->type))
		return -EINVAL;
	vjpeg_to_format(vjpeg_pix(ctx, f->type), f);
	return 0;
}

static int vjpeg_try_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct v4l2_pix_format_mplane pix;

	if (!vjpeg_queue(file_to_ctx(file), f->type))
		return -EINVAL;
	if (multiplanar)
		pix = f->fmt.pix_mp;
	else
		vjpeg_from_single(&f->fmt.pix, &pix);
	vjpeg_try(f->type, &pix);
	vjpeg_to_format(&pix, f);
	return 0;
}

static int vjpeg_s_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	u32 height = multiplanar ? f->fmt.pix_mp.height : f->fmt.pix.height;
	struct vjpeg_ctx *ctx = file_to_ctx(file);
	struct vb2_queue *vq = vjpeg_queue(ctx, f->type);
	struct v4l2_pix_format_mplane *pix = vjpeg_pix(ctx, f->type);

	if (vq && vb2_is_busy(vq))
		return -EBUSY;
	if (vjpeg_try_fmt(file, priv, f))
		return -EINVAL;
	if (multiplanar)
		*pix = f->fmt.pix_mp;
	else
		vjpeg_from_single(&f->fmt.pix, pix);
	if (V4L2_TYPE_IS_OUTPUT(f->type)) {
		ctx->format = vjpeg_find_format(pix->pixelformat);
		ctx->width = pix->width;
		ctx->height = clamp(height >> small, MIN_SIZE, pix->height);
	}
	pix->field = V4L2_FIELD_NONE;
	pix->num_planes = V4L2_TYPE_IS_OUTPUT(f->type) ? ctx->format->buffers : 1;
	return 0;
}

static int vjpeg_enum_raw(struct file *file, void *priv, struct v4l2_fmtdesc *f)
{
	u32 count = ARRAY_SIZE(formats) - (multiplanar ? 0 : 2);

	if (f->index >= count)
		return -EINVAL;
	f->pixelformat = formats[f->index].fourcc;
	return 0;
}

static int vjpeg_enum_jpeg(struct file *file, void *priv, struct v4l2_fmtdesc *f)
{
	if (f->index > 0)
		return -EINVAL;
	f->pixelformat = vjpeg_coded();
	return 0;
}

static int vjpeg_enum_framesizes(struct file *file, void *priv,
				 struct v4l2_frmsizeenum *sizes)
{
	if (sizes->index > 0)
		return -EINVAL;
	if (sizes->pixel_format != vjpeg_coded() &&
	    vjpeg_find_format(sizes->pixel_format)->fourcc != sizes->pixel_format)
		return -EINVAL;
	sizes->type = V4L2_FRMSIZE_TYPE_STEPWISE;
	sizes->stepwise = (struct v4l2_frmsize_stepwise) {
		MIN_SIZE, MAX_SIZE, 1, MIN_SIZE, MAX_SIZE, 1
	};
	return 0;
}

/* ---- Other ioctls */

static int vjpeg_querycap(struct file *file, void *priv,
			  struct v4l2_capability *cap)
{
	strscpy(cap->driver, "vjpeg", sizeof(cap->driver));
	strscpy(cap->card, "vjpeg", sizeof(cap->card));
	snprintf(cap->bus_info, sizeof(cap->bus_info), "platform:%s",
		 dev_name(file_to_ctx(file)->dev->v4l2_dev.dev));
	return 0;
}

/* The picture in the raw buffer. V4L2 asks with the types of the old API. */
static int vjpeg_g_selection(struct file *file, void *priv,
			     struct v4l2_selection *s)
{
	struct vjpeg_ctx *ctx = file_to_ctx(file);

	if (s->type != V4L2_BUF_TYPE_VIDEO_OUTPUT)
		return -EINVAL;
	s->r = (struct v4l2_rect) { 0, 0, ctx->raw.width, ctx->raw.height };
	switch (s->target) {
	case V4L2_SEL_TGT_CROP:
		s->r.width = ctx->width;
		s->r.height = ctx->height;
		return 0;
	case V4L2_SEL_TGT_CROP_DEFAULT:
	case V4L2_SEL_TGT_CROP_BOUNDS:
		return 0;
	}
	return -EINVAL;
}

static int vjpeg_s_selection(struct file *file, void *priv,
			     struct v4l2_selection *s)
{
	struct vjpeg_ctx *ctx = file_to_ctx(file);

	if (s->type != V4L2_BUF_TYPE_VIDEO_OUTPUT ||
	    s->target != V4L2_SEL_TGT_CROP)
		return -EINVAL;
	if (vb2_is_streaming(v4l2_m2m_get_src_vq(ctx->fh.m2m_ctx)))
		return -EBUSY;
	ctx->width = clamp(s->r.width, MIN_SIZE, ctx->raw.width);
	ctx->height = clamp(s->r.height, MIN_SIZE, ctx->raw.height);
	s->r = (struct v4l2_rect) { 0, 0, ctx->width, ctx->height };
	return 0;
}

static int vjpeg_g_parm(struct file *file, void *priv, struct v4l2_streamparm *p)
{
	struct vjpeg_ctx *ctx = file_to_ctx(file);

	if (!V4L2_TYPE_IS_OUTPUT(p->type) || !vjpeg_queue(ctx, p->type))
		return -EINVAL;
	p->parm.output.capability = V4L2_CAP_TIMEPERFRAME;
	p->parm.output.timeperframe = ctx->interval;
	return 0;
}

static int vjpeg_s_parm(struct file *file, void *priv, struct v4l2_streamparm *p)
{
	struct v4l2_fract interval = p->parm.output.timeperframe;
	struct vjpeg_ctx *ctx = file_to_ctx(file);

	if (!V4L2_TYPE_IS_OUTPUT(p->type) || !vjpeg_queue(ctx, p->type))
		return -EINVAL;
	if (!interval.numerator || !interval.denominator)
		return -EINVAL;
	if (vb2_is_streaming(v4l2_m2m_get_src_vq(ctx->fh.m2m_ctx)))
		return -EBUSY;
	ctx->interval = interval;
	return vjpeg_g_parm(file, priv, p);
}

static const struct v4l2_ioctl_ops vjpeg_ioctl_ops = {
	.vidioc_querycap = vjpeg_querycap,
	.vidioc_enum_fmt_vid_out = vjpeg_enum_raw,
	.vidioc_enum_fmt_vid_cap = vjpeg_enum_jpeg,
	.vidioc_enum_framesizes = vjpeg_enum_framesizes,
	.vidioc_g_fmt_vid_out = vjpeg_g_fmt,
	.vidioc_g_fmt_vid_cap = vjpeg_g_fmt,
	.vidioc_g_fmt_vid_out_mplane = vjpeg_g_fmt,
	.vidioc_g_fmt_vid_cap_mplane = vjpeg_g_fmt,
	.vidioc_try_fmt_vid_out = vjpeg_try_fmt,
	.vidioc_try_fmt_vid_cap = vjpeg_try_fmt,
	.vidioc_try_fmt_vid_out_mplane = vjpeg_try_fmt,
	.vidioc_try_fmt_vid_cap_mplane = vjpeg_try_fmt,
	.vidioc_s_fmt_vid_out = vjpeg_s_fmt,
	.vidioc_s_fmt_vid_cap = vjpeg_s_fmt,
	.vidioc_s_fmt_vid_out_mplane = vjpeg_s_fmt,
	.vidioc_s_fmt_vid_cap_mplane = vjpeg_s_fmt,
	.vidioc_g_selection = vjpeg_g_selection,
	.vidioc_s_selection = vjpeg_s_selection,
	.vidioc_g_parm = vjpeg_g_parm,
	.vidioc_s_parm = vjpeg_s_parm,
	.vidioc_reqbufs = v4l2_m2m_ioctl_reqbufs,
	.vidioc_create_bufs = v4l2_m2m_ioctl_create_bufs,
	.vidioc_prepare_buf = v4l2_m2m_ioctl_prepare_buf,
	.vidioc_querybuf = v4l2_m2m_ioctl_querybuf,
	.vidioc_qbuf = v4l2_m2m_ioctl_qbuf,
	.vidioc_dqbuf = v4l2_m2m_ioctl_dqbuf,
	.vidioc_expbuf = v4l2_m2m_ioctl_expbuf,
	.vidioc_streamon = v4l2_m2m_ioctl_streamon,
	.vidioc_streamoff = v4l2_m2m_ioctl_streamoff,
	.vidioc_subscribe_event = v4l2_ctrl_subscribe_event,
	.vidioc_unsubscribe_event = v4l2_event_unsubscribe,
};

/* ---- Controls */

static int vjpeg_s_ctrl(struct v4l2_ctrl *ctrl)
{
	struct vjpeg_ctx *ctx =
		container_of(ctrl->handler, struct vjpeg_ctx, ctrls);

	switch (ctrl->id) {
	case V4L2_CID_JPEG_COMPRESSION_QUALITY:
		WRITE_ONCE(ctx->quality, ctrl->val);
		break;
	case V4L2_CID_MPEG_VIDEO_BITRATE:
		WRITE_ONCE(ctx->bitrate, ctrl->val);
		break;
	}
	return 0;
}

static const struct v4l2_ctrl_ops vjpeg_ctrl_ops = {
	.s_ctrl = vjpeg_s_ctrl,
};

static int vjpeg_init_ctrls(struct vjpeg_ctx *ctx)
{
	struct v4l2_ctrl_handler *h = &ctx->ctrls;

	v4l2_ctrl_handler_init(h, 2);
	if (vjpeg_coded() == V4L2_PIX_FMT_JPEG) {
		v4l2_ctrl_new_std(h, &vjpeg_ctrl_ops,
				  V4L2_CID_JPEG_COMPRESSION_QUALITY, 1, 100, 1, 80);
	} else {
		v4l2_ctrl_new_std_menu(h, &vjpeg_ctrl_ops,
				       V4L2_CID_MPEG_VIDEO_BITRATE_MODE,
				       V4L2_MPEG_VIDEO_BITRATE_MODE_CBR, 0,
				       V4L2_MPEG_VIDEO_BITRATE_MODE_VBR);
		v4l2_ctrl_new_std(h, &vjpeg_ctrl_ops, V4L2_CID_MPEG_VIDEO_BITRATE,
				  25000, 25000000, 25000, 10000000);
	}
	ctx->fh.ctrl_handler = h;
	return h->error ?: v4l2_ctrl_handler_setup(h);
}

/* ---- Files */

static void vjpeg_init_formats(struct vjpeg_ctx *ctx)
{
	ctx->raw.width = ctx->jpeg.width = ctx->width = 640;
	ctx->raw.height = ctx->jpeg.height = ctx->height = 480;
	vjpeg_try(V4L2_BUF_TYPE_VIDEO_OUTPUT, &ctx->raw);
	vjpeg_try(V4L2_BUF_TYPE_VIDEO_CAPTURE, &ctx->jpeg);
	ctx->format = vjpeg_find_format(ctx->raw.pixelformat);
	ctx->width = min(ctx->width, ctx->raw.width);
	ctx->height = min(ctx->height, ctx->raw.height);
	ctx->interval = (struct v4l2_fract) { 1, 30 };
}

static void vjpeg_free_ctx(struct vjpeg_ctx *ctx)
{
	v4l2_ctrl_handler_free(&ctx->ctrls);
	v4l2_fh_exit(&ctx->fh);
	kfree(ctx->encoder);
	kfree(ctx);
}

static int vjpeg_open(struct file *file)
{
	struct vjpeg_dev *dev = video_drvdata(file);
	struct vjpeg_ctx *ctx;
	int ret;

	if (busy)
		return -EBUSY;
	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL);
	if (!ctx)
		return -ENOMEM;
	ctx->dev = dev;
	v4l2_fh_init(&ctx->fh, &dev->vfd);
	INIT_WORK(&ctx->work, vjpeg_work);
	vjpeg_init_formats(ctx);
	ret = vjpeg_init_ctrls(ctx);
	if (ret)
		goto free;
	ret = -ENOMEM;
	ctx->encoder = vjpeg_encoder_new();
	if (!ctx->encoder)
		goto free;
	ctx->fh.m2m_ctx = v4l2_m2m_ctx_init(vjpeg_m2m, ctx, vjpeg_queue_init);
	ret = PTR_ERR_OR_ZERO(ctx->fh.m2m_ctx);
	if (ret)
		goto free;
	file->private_data = &ctx->fh;
	v4l2_fh_add(&ctx->fh);
	return 0;
free:
	vjpeg_free_ctx(ctx);
	return ret;
}

static int vjpeg_release(struct file *file)
{
	struct vjpeg_ctx *ctx = file_to_ctx(file);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;

	v4l2_fh_del(&ctx->fh);
	/*
	 * This waits until the job is finished, which is before the function of
	 * v4l2-mem2mem that finishes it has returned: only then it may be freed.
	 */
	mutex_lock(&ctx->dev->mutex);
	v4l2_m2m_streamoff(file, m2m, v4l2_m2m_get_src_vq(m2m)->type);
	v4l2_m2m_streamoff(file, m2m, v4l2_m2m_get_dst_vq(m2m)->type);
	mutex_unlock(&ctx->dev->mutex);
	flush_work(&ctx->work);
	v4l2_m2m_ctx_release(m2m);
	vjpeg_free_ctx(ctx);
	return 0;
}

static const struct v4l2_file_operations vjpeg_fops = {
	.owner = THIS_MODULE,
	.open = vjpeg_open,
	.release = vjpeg_release,
	.poll = v4l2_m2m_fop_poll,
	.mmap = v4l2_m2m_fop_mmap,
	.unlocked_ioctl = video_ioctl2,
};

/* ---- The device */

/* Nobody has it open any more, and it is unbound. */
static void vjpeg_free_dev(struct v4l2_device *v4l2_dev)
{
	struct vjpeg_dev *dev = container_of(v4l2_dev, struct vjpeg_dev, v4l2_dev);

	v4l2_device_unregister(&dev->v4l2_dev);
	kfree(dev);
}

/*
 * The end of the device for those who have it open: what they wait for comes,
 * as an error, and their next ioctl gives ENODEV.
 */
static void vjpeg_unbind(void *data)
{
	struct vjpeg_dev *dev = data;
	struct v4l2_fh *fh;
	unsigned long flags;

	WRITE_ONCE(dev->gone, true);
	wake_up_all(&dev->wait);
	video_unregister_device(&dev->vfd);
	spin_lock_irqsave(&dev->vfd.fh_lock, flags);
	list_for_each_entry(fh, &dev->vfd.fh_list, list) {
		vb2_queue_error(v4l2_m2m_get_src_vq(fh->m2m_ctx));
		vb2_queue_error(v4l2_m2m_get_dst_vq(fh->m2m_ctx));
	}
	spin_unlock_irqrestore(&dev->vfd.fh_lock, flags);
	v4l2_device_put(&dev->v4l2_dev);
}

static int vjpeg_probe(struct platform_device *pdev)
{
	struct vjpeg_dev *dev;
	int ret;

	ret = dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32));
	if (ret)
		return ret;
	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	mutex_init(&dev->mutex);
	init_waitqueue_head(&dev->wait);
	ret = v4l2_device_register(&pdev->dev, &dev->v4l2_dev);
	if (ret) {
		kfree(dev);
		return ret;
	}
	dev->v4l2_dev.release = vjpeg_free_dev;

	strscpy(dev->vfd.name, "vjpeg", sizeof(dev->vfd.name));
	dev->vfd.vfl_dir = VFL_DIR_M2M;
	dev->vfd.v4l2_dev = &dev->v4l2_dev;
	dev->vfd.fops = &vjpeg_fops;
	dev->vfd.ioctl_ops = &vjpeg_ioctl_ops;
	dev->vfd.lock = &dev->mutex;
	dev->vfd.release = video_device_release_empty;
	dev->vfd.device_caps = V4L2_CAP_STREAMING |
		(multiplanar ? V4L2_CAP_VIDEO_M2M_MPLANE : V4L2_CAP_VIDEO_M2M);
	video_set_drvdata(&dev->vfd, dev);
	ret = video_register_device(&dev->vfd, VFL_TYPE_VIDEO, -1);
	if (ret) {
		v4l2_device_put(&dev->v4l2_dev);
		return ret;
	}
	return devm_add_action_or_reset(&pdev->dev, vjpeg_unbind, dev);
}

static struct platform_driver vjpeg_driver = {
	.probe = vjpeg_probe,
	.driver = { .name = "vjpeg" },
};

static struct platform_device *vjpeg_device;

static int __init vjpeg_init(void)
{
	int ret;

	if (strcmp(coded, "JPEG") && strcmp(coded, "MJPG"))
		return -EINVAL;
	vjpeg_m2m = v4l2_m2m_init(&vjpeg_m2m_ops);
	if (IS_ERR(vjpeg_m2m))
		return PTR_ERR(vjpeg_m2m);
	ret = platform_driver_register(&vjpeg_driver);
	if (ret)
		goto release;
	vjpeg_device = platform_device_register_simple("vjpeg", 0, NULL, 0);
	ret = PTR_ERR_OR_ZERO(vjpeg_device);
	if (!ret)
		return 0;
	platform_driver_unregister(&vjpeg_driver);
release:
	v4l2_m2m_release(vjpeg_m2m);
	return ret;
}

static void __exit vjpeg_exit(void)
{
	platform_device_unregister(vjpeg_device);
	platform_driver_unregister(&vjpeg_driver);
	v4l2_m2m_release(vjpeg_m2m);
}

module_init(vjpeg_init);
module_exit(vjpeg_exit);

MODULE_DESCRIPTION("virtual JPEG encoder");
MODULE_LICENSE("GPL");
