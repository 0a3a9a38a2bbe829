"""Networks only: tensors in, tensors out. ``MODELS`` is the seam: a model named ``x`` stands in ``components/models/x.py``."""

MODELS: dict[str, str] = {
    "vit": "components.models.vit:ViT",
    "pp_lcnet": "components.models.pp_lcnet:PPLCNet",
    "resnet18": "components.models.resnet18:ResNet18",
    "pixelcnn": "components.models.pixelcnn:PixelCNN",
    "gated_pixelcnn": "components.models.gated_pixelcnn:GatedPixelCNN",
    "unet": "components.models.unet:UNet",
    "unet_classifier": "components.models.unet_classifier:UNetClassifier",
    "munit": "components.models.munit:MUNIT",
    "unit": "components.models.unit:UNIT",
    "stargan": "components.models.stargan:StarGAN",
    "stargan_v2": "components.models.stargan_v2:StarGANv2",
}
