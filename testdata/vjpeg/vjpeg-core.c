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

#include "vjpeg.h"
#include "vjpeg-jpeg.h"

struct vjpeg_params vjpeg_params = {
	.multiplanar = true,
	.coded = "JPEG",
	.align = true,
};

module_param_named(multiplanar, vjpeg_params.multiplanar, bool, 0444);
MODULE_PARM_DESC(multiplanar, "the multi-planar API (default), or the single-planar");

module_param_named(coded, vjpeg_params.coded, charp, 0444);
MODULE_PARM_DESC(coded, "JPEG (default), with a quality, or MJPG, with a bit rate");

module_param_named(align, vjpeg_params.align, bool, 0444);
MODULE_PARM_DESC(align, "rows, heights and coded buffers as on a Raspberry Pi (default)");

module_param_named(exif, vjpeg_params.exif, bool, 0644);
MODULE_PARM_DESC(exif, "JPEGs have an Exif header with a thumbnail");

module_param_named(rubbish, vjpeg_params.rubbish, bool, 0644);
MODULE_PARM_DESC(rubbish, "the first coded buffer after STREAMON holds rubbish, of time 0");

module_param_named(stall, vjpeg_params.stall, bool, 0644);
MODULE_PARM_DESC(stall, "pictures are not finished as long as this is so");

module_param_named(bad, vjpeg_params.bad, bool, 0644);
MODULE_PARM_DESC(bad, "what comes back is no JPEG");

module_param_named(cut, vjpeg_params.cut, bool, 0644);
MODULE_PARM_DESC(cut, "JPEGs end in the middle");

module_param_named(fail, vjpeg_params.fail, bool, 0644);
MODULE_PARM_DESC(fail, "buffers come back with V4L2_BUF_FLAG_ERROR");

module_param_named(busy, vjpeg_params.busy, bool, 0644);
MODULE_PARM_DESC(busy, "open() gives EBUSY");

module_param_named(nomem, vjpeg_params.nomem, uint, 0644);
MODULE_PARM_DESC(nomem, "REQBUFS gives ENOMEM: 1 on OUTPUT, 2 on CAPTURE, 3 on both");

module_param_named(refuse, vjpeg_params.refuse, bool, 0644);
MODULE_PARM_DESC(refuse, "S_FMT on CAPTURE grants another pixel format");

module_param_named(small, vjpeg_params.small, bool, 0644);
MODULE_PARM_DESC(small, "S_FMT on OUTPUT grants half the width and height");

module_param_named(once, vjpeg_params.once, bool, 0644);
MODULE_PARM_DESC(once, "all pictures are the first one, for measuring: they take no time");

module_param_named(delay, vjpeg_params.delay, uint, 0644);
MODULE_PARM_DESC(delay, "how long a picture takes besides, in ms");

/*
 * v4l2-mem2mem schedules work of its own when a job is finished, and nobody can
 * wait for that. So this is not freed with the device, but with the module.
 */
struct v4l2_m2m_dev *vjpeg_m2m;

/* ---- Files */

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

	if (vjpeg_params.busy)
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
	struct vjpeg_ctx *ctx = vjpeg_file_ctx(file);
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
 * The end of the device for those who have it open: their next ioctl gives
 * ENODEV, and what they wait for comes as an error.
 */
static void vjpeg_unbind(void *data)
{
	struct vjpeg_dev *dev = data;
	struct v4l2_fh *fh;
	unsigned long flags;

	video_unregister_device(&dev->vfd);
	WRITE_ONCE(dev->gone, true);
	wake_up_all(&dev->wait);
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
		(vjpeg_params.multiplanar ? V4L2_CAP_VIDEO_M2M_MPLANE : V4L2_CAP_VIDEO_M2M);
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

	if (strcmp(vjpeg_params.coded, "JPEG") && strcmp(vjpeg_params.coded, "MJPG"))
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
