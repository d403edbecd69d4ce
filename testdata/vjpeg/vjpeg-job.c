// SPDX-License-Identifier: GPL-2.0
/*
 * The jobs of the virtual JPEG encoder, and the buffers that they need.
 */
#include <media/videobuf2-dma-contig.h>

#include "vjpeg.h"
#include "vjpeg-jpeg.h"

/* What the firmware of a Raspberry Pi gets to return buffers: 2 s. */
#define ABORT_TIMEOUT	(2 * HZ)

/* ---- Encoding */

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
	if (vjpeg_params.fail)
		return VB2_BUF_STATE_ERROR;
	length = ctx->length;
	if (!vjpeg_params.once || !length) { /* else it is still in the buffer, if there is one */
		vjpeg_find_samples(ctx, src, &p);
		length = vjpeg_encode(ctx->encoder, &p, vjpeg_quality(ctx),
				      vjpeg_params.exif, out, vb2_plane_size(dst, 0));
	}
	if (!length)
		return VB2_BUF_STATE_ERROR;
	ctx->length = length;
	if (vjpeg_params.bad)
		memset(out, 'x', length);
	if (vjpeg_params.cut)
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
	while (READ_ONCE(vjpeg_params.stall) && !vjpeg_stopped(ctx))
		wait_event_timeout(dev->wait, vjpeg_stopped(ctx), HZ / 50 + 1);
	if (READ_ONCE(vjpeg_params.stall) && READ_ONCE(ctx->aborting))
		wait_event_timeout(dev->wait, READ_ONCE(dev->gone), ABORT_TIMEOUT);
	if (vjpeg_params.delay)
		wait_event_timeout(dev->wait, vjpeg_stopped(ctx),
				   msecs_to_jiffies(vjpeg_params.delay));
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

void vjpeg_work(struct work_struct *work)
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
	if (ctx->first && vjpeg_params.rubbish)
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

const struct v4l2_m2m_ops vjpeg_m2m_ops = {
	.device_run = vjpeg_device_run,
	.job_abort = vjpeg_job_abort,
};

/* ---- Buffers */

static int vjpeg_queue_setup(struct vb2_queue *vq, unsigned int *buffers,
			     unsigned int *planes, unsigned int sizes[],
			     struct device *alloc_devs[])
{
	struct v4l2_pix_format_mplane *pix;
	unsigned int i;

	if (vjpeg_params.nomem & (V4L2_TYPE_IS_OUTPUT(vq->type) ? 1 : 2))
		return -ENOMEM;
	pix = vjpeg_pix(vb2_get_drv_priv(vq), vq->type);
	for (i = 0; i < pix->num_planes; i++)
		sizes[i] = pix->plane_fmt[i].sizeimage;
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
		if (vb2_plane_size(vb, i) < pix->plane_fmt[i].sizeimage ||
		    !vb2_plane_vaddr(vb, i)) /* not every DMABUF has one */
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
	ctx->length = 0;
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
int vjpeg_queue_init(void *priv, struct vb2_queue *src, struct vb2_queue *dst)
{
	struct vjpeg_ctx *ctx = priv;
	struct vb2_queue *queues[] = { src, dst };
	int i, ret;

	src->type = vjpeg_params.multiplanar ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE :
				  V4L2_BUF_TYPE_VIDEO_OUTPUT;
	src->allow_zero_bytesused = 1;
	dst->type = vjpeg_params.multiplanar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE :
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
