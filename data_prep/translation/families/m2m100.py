"""M2M100 (Fan et al. 2020): 100 languages, among them all of XTREME's but Basque, Quechua and Telugu."""

from data_prep.translation.families.base import Family


class M2M100(Family):
    licence = "MIT"

    def tokens(self, code: str) -> tuple[str, ...]:
        return (f"__{code}__",)
