"""Families of translation models, one module each: how a language is named, and where that stands."""

from data_prep.translation.families.base import Family
from data_prep.translation.families.m2m100 import M2M100
from data_prep.translation.families.madlad import Madlad
from data_prep.translation.families.nllb import Nllb

FAMILIES: tuple[Family, ...] = (M2M100(), Nllb(), Madlad())
