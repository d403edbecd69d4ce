// SPDX-License-Identifier: GPL-2.0
/*
 * The formats of the virtual JPEG encoder, and its controls.
 */
#include <media/v4l2-event.h>

#include "vjpeg.h"

#define MIN_SIZE	32U	/* those of a Raspberry Pi */
#define MAX_SIZE	1920U

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

/* ---- Formats */

/* Returns the number of planes, with the bytes of their rows and of all. */
unsigned int vjpeg_planes(const struct vjpeg_format *format, u32 bytesperline,
			  u32 height, u32 stride[3], u32 size[3])
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

struct v4l2_pix_format_mplane *vjpeg_pix(struct vjpeg_ctx *ctx, u32 type)
{
	return V4L2_TYPE_IS_OUTPUT(type) ? &ctx->raw : &ctx->jpeg;
}

static const struct vjpeg_format *vjpeg_find_format(u32 fourcc)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i].fourcc == fourcc &&
		    (vjpeg_params.multiplanar || formats[i].buffers == 1))
			return &formats[i];
	return &formats[0];
}

/*
 * As on a Raspberry Pi, whose encoders of stills and of video differ. The height that
 * is granted is that of the buffer.
 */
static void vjpeg_try_raw(struct v4l2_pix_format_mplane *pix)
{
	const struct vjpeg_format *format = vjpeg_find_format(pix->pixelformat);
	bool video = vjpeg_coded() == V4L2_PIX_FMT_MJPEG;
	u32 bytesperline, least, stride[3], size[3];
	unsigned int planes, i;

	pix->pixelformat = format->fourcc;
	pix->width = clamp(pix->width >> vjpeg_params.small, MIN_SIZE, MAX_SIZE);
	pix->height = clamp(pix->height >> vjpeg_params.small, MIN_SIZE, MAX_SIZE);
	if (vjpeg_params.align && !video)
		pix->height = ALIGN(pix->height, 16);

	least = pix->width * format->bytes;
	if (format->layout == PACKED)
		least = ALIGN(least, 4);
	bytesperline = clamp(pix->plane_fmt[0].bytesperline, least, 2 * least);
	if (vjpeg_params.align)
		bytesperline = ALIGN(bytesperline, video && format->layout == PLANAR ?
				     64 : format->align);

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

	pix->pixelformat = vjpeg_params.refuse ? V4L2_PIX_FMT_H264 : vjpeg_coded();
	pix->width = clamp(pix->width, MIN_SIZE, MAX_SIZE);
	pix->height = clamp(pix->height, MIN_SIZE, MAX_SIZE);
	if (!vjpeg_params.align)
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
static void vjpeg_from_format(const struct v4l2_format *f,
			      struct v4l2_pix_format_mplane *pix)
{
	const struct v4l2_pix_format *single = &f->fmt.pix;

	if (vjpeg_params.multiplanar) {
		*pix = f->fmt.pix_mp;
		return;
	}
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
	if (vjpeg_params.multiplanar) {
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
	struct vjpeg_ctx *ctx = vjpeg_file_ctx(file);

	if (!vjpeg_queue(ctx, f->type))
		return -EINVAL;
	vjpeg_to_format(vjpeg_pix(ctx, f->type), f);
	return 0;
}

static int vjpeg_try_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct v4l2_pix_format_mplane pix;

	if (!vjpeg_queue(vjpeg_file_ctx(file), f->type))
		return -EINVAL;
	vjpeg_from_format(f, &pix);
	vjpeg_try(f->type, &pix);
	vjpeg_to_format(&pix, f);
	return 0;
}

/* The picture has the height that was asked for, in a buffer of the one granted. */
static void vjpeg_set_raw(struct vjpeg_ctx *ctx,
			  const struct v4l2_pix_format_mplane *asked)
{
	ctx->format = vjpeg_find_format(ctx->raw.pixelformat);
	ctx->width = ctx->raw.width;
	ctx->height = clamp(asked->height >> vjpeg_params.small, MIN_SIZE,
			    ctx->raw.height);
}

static int vjpeg_s_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct vjpeg_ctx *ctx = vjpeg_file_ctx(file);
	struct vb2_queue *vq = vjpeg_queue(ctx, f->type);
	struct v4l2_pix_format_mplane asked, *pix = vjpeg_pix(ctx, f->type);

	if (!vq)
		return -EINVAL;
	if (vb2_is_busy(vq))
		return -EBUSY;
	vjpeg_from_format(f, &asked);
	*pix = asked;
	vjpeg_try(f->type, pix);
	vjpeg_to_format(pix, f);
	if (V4L2_TYPE_IS_OUTPUT(f->type))
		vjpeg_set_raw(ctx, &asked);
	return 0;
}

static int vjpeg_enum_raw(struct file *file, void *priv, struct v4l2_fmtdesc *f)
{
	u32 count = ARRAY_SIZE(formats) - (vjpeg_params.multiplanar ? 0 : 2);

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
		MIN_SIZE, MAX_SIZE, 2, MIN_SIZE, MAX_SIZE, 2
	};
	return 0;
}

void vjpeg_init_formats(struct vjpeg_ctx *ctx)
{
	const struct v4l2_pix_format_mplane size = { .width = 640, .height = 480 };

	ctx->raw = size;
	ctx->jpeg = size;
	vjpeg_try(V4L2_BUF_TYPE_VIDEO_OUTPUT, &ctx->raw);
	vjpeg_try(V4L2_BUF_TYPE_VIDEO_CAPTURE, &ctx->jpeg);
	vjpeg_set_raw(ctx, &size);
	ctx->interval = (struct v4l2_fract) { 1, 30 };
}

/* ---- Other ioctls */

static int vjpeg_querycap(struct file *file, void *priv,
			  struct v4l2_capability *cap)
{
	strscpy(cap->driver, "vjpeg", sizeof(cap->driver));
	strscpy(cap->card, "vjpeg", sizeof(cap->card));
	snprintf(cap->bus_info, sizeof(cap->bus_info), "platform:%s",
		 dev_name(vjpeg_file_ctx(file)->dev->v4l2_dev.dev));
	return 0;
}

/* The picture in the raw buffer. V4L2 asks with the types of the old API. */
static int vjpeg_g_selection(struct file *file, void *priv,
			     struct v4l2_selection *s)
{
	struct vjpeg_ctx *ctx = vjpeg_file_ctx(file);

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
	struct vjpeg_ctx *ctx = vjpeg_file_ctx(file);

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
	struct vjpeg_ctx *ctx = vjpeg_file_ctx(file);

	if (!V4L2_TYPE_IS_OUTPUT(p->type) || !vjpeg_queue(ctx, p->type))
		return -EINVAL;
	p->parm.output.capability = V4L2_CAP_TIMEPERFRAME;
	p->parm.output.timeperframe = ctx->interval;
	return 0;
}

static int vjpeg_s_parm(struct file *file, void *priv, struct v4l2_streamparm *p)
{
	struct v4l2_fract interval = p->parm.output.timeperframe;
	struct vjpeg_ctx *ctx = vjpeg_file_ctx(file);

	if (!V4L2_TYPE_IS_OUTPUT(p->type) || !vjpeg_queue(ctx, p->type))
		return -EINVAL;
	if (!interval.numerator || !interval.denominator)
		return -EINVAL;
	if (vb2_is_streaming(v4l2_m2m_get_src_vq(ctx->fh.m2m_ctx)))
		return -EBUSY;
	ctx->interval = interval;
	return vjpeg_g_parm(file, priv, p);
}

const struct v4l2_ioctl_ops vjpeg_ioctl_ops = {
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

int vjpeg_init_ctrls(struct vjpeg_ctx *ctx)
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
