"""The catalogue as mypy sees it: every family is a ``Recipe``."""

from components.core.recipe import Detecting, Recipe
from components.families.acvae_vc.recipe import ACVAERecipe
from components.families.classification.recipe import Classification
from components.families.clip.recipe import CLIPRecipe
from components.families.detr.recipe import DETRRecipe
from components.families.diffusion.recipe import Diffusion
from components.families.limoe.recipe import LIMoERecipe
from components.families.munit.recipe import MUNITRecipe
from components.families.noisy_classifier.recipe import NoisyClassifier
from components.families.pixelcnn.recipe import PixelCNNRecipe
from components.families.simmim.recipe import SimMIMRecipe
from components.families.stargan.recipe import StarGANRecipe
from components.families.stargan_v2.recipe import StarGANv2Recipe
from components.families.stargan_vc.recipe import StarGANVCRecipe
from components.families.stylegan2.recipe import StyleGAN2Recipe
from components.families.unit.recipe import UNITRecipe

RECIPE_TYPES: dict[str, type[Recipe]] = {
    "classification": Classification,
    "clip": CLIPRecipe,
    "limoe": LIMoERecipe,
    "pixelcnn": PixelCNNRecipe,
    "diffusion": Diffusion,
    "noisy_classifier": NoisyClassifier,
    "munit": MUNITRecipe,
    "unit": UNITRecipe,
    "stargan": StarGANRecipe,
    "stargan_v2": StarGANv2Recipe,
    "stargan_vc": StarGANVCRecipe,
    "acvae_vc": ACVAERecipe,
    "simmim": SimMIMRecipe,
    "detr": DETRRecipe,
    "stylegan2": StyleGAN2Recipe,
}
DETECTING: tuple[type[Detecting], ...] = (Classification,)
