"""Networks that several families use: tensors in, tensors out. ``MODELS`` is the catalogue of all that a run can name."""

MODELS: dict[str, str] = {
    "vit": "components.networks.vit:ViT",
    "swin": "components.networks.swin.swin:Swin",
    "swin_v2": "components.networks.swin.swin:SwinV2",
    "pp_lcnet": "components.networks.pp_lcnet:PPLCNet",
    "resnet18": "components.networks.resnet18:ResNet18",
    "resnet": "components.networks.resnet:ResNet",
    "timm": "components.networks.timm_models.network:TimmNetwork",
    "clip_vit": "components.networks.clip_vit:ClipViT",
    "clip_resnet": "components.networks.modified_resnet:ClipResNet",
    "clip": "components.families.clip.networks:CLIP",
    "pixelcnn": "components.families.pixelcnn.pixelcnn:PixelCNN",
    "gated_pixelcnn": "components.families.pixelcnn.gated_pixelcnn:GatedPixelCNN",
    "unet": "components.networks.unet.unet:UNet",
    "unet_classifier": "components.networks.unet.classifier:UNetClassifier",
    "munit": "components.families.munit.networks:MUNIT",
    "unit": "components.families.unit.networks:UNIT",
    "stargan": "components.families.stargan.networks:StarGAN",
    "stargan_v2": "components.families.stargan_v2.networks:StarGANv2",
    "stylegan2": "components.families.stylegan2.networks.stylegan2:StyleGAN2",
    "detr": "components.families.detr.network.detr:DETR",
}
