"""The makers' own files: those that are downloaded because the Hub has none, and checksums of others.

LAReQA's sha256 and that of Cosmos QA's valid.csv were taken of the files at the commits named; the others are from the
records that huggingface/datasets kept (dataset_infos.json at d7dfbc83).
"""

from common.languages import LANGUAGES
from data_prep.datasets.schema import Published

# File name -> sha256; a user's copy with another one is not an error, but the user is told.
PUBLISHED = {
    "train-v1.1.json": "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955",
    "dev-v1.1.json": "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",
    "train-v2.0.json": "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002",
    "dev-v2.0.json": "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
    "hellaswag_train.jsonl": "dae5e69249868cb9fe4e23ff925c60b66169564cfb7072d793cd7356a2b69f8d",
    "hellaswag_val.jsonl": "0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588",
    "train.csv": "d8d5ca1f9f6534b6530550718591af89372d976a8fc419360fab4158dee4d0b2",
    "tydiqa-goldp-v1.1-train.json": "cefc8e09ff2548d9b10a678d3a6bbbe5bc036be543f92418819ea676c97be23b",
    "tydiqa-goldp-v1.1-dev.json": "b286e0f34bc7f52259359989716f369b160565bd12ad8f3a3e311f9b0dbad1c0",
}

COSMOSQA = tuple(
    Published(
        f"cosmosqa/{name}",
        (
            f"https://raw.githubusercontent.com/wilburOne/cosmosqa/b6eb99cca4e2a51dd28a9a6f562534872d851639/data/{name}",
            f"https://raw.githubusercontent.com/wilburOne/cosmosqa/master/data/{name}",
        ),
        sha256,
    )
    for name, sha256 in (
        ("train.csv", "d8d5ca1f9f6534b6530550718591af89372d976a8fc419360fab4158dee4d0b2"),
        ("valid.csv", "a6a94fc1463ca82bb10f98ef68ed535405e6f5c36e044ff8e136b5c19dea63f3"),
    )
)

_LAREQA_FILES = "https://raw.githubusercontent.com/google-research-datasets/lareqa"
LAREQA = tuple(
    Published(
        f"lareqa/xquad-r/{code}.json",
        tuple(
            f"{_LAREQA_FILES}/{commit}/xquad-r/{code}.json"
            for commit in ("9bc8c7fb6dd8d01d72a05a93c2cb96882b0d299c", "master")
        ),
        sha256,
    )
    for code, sha256 in (
        ("ar", "c52922d3b8ac1ae03ed5ac38647ad59870dca3dda2beefe18ecdc30729acb69d"),
        ("de", "16fb0f4bf4916154b585a20c24c66074591c9718a1affe764ff4697572328949"),
        ("el", "163fd43ee785a30eb534ae2061e9eaa766a7ee4e8ffce5e4b422480c150f64b6"),
        ("en", "7b0954f39297c27a31fef610f0883337dd2907fa8699151dc922afdd0fa12ffe"),
        ("es", "f8e836b2d91009c4363e04315f7ede363eedbbb49c67dda60de6c4aa782f58de"),
        ("hi", "ea45ba8ae4513d1533b222bebdc02a90bc319c055d3aeea68584a053d2e92872"),
        ("ru", "7f4dff853538b9a5fcc28c070b8bb983a5c5d190ac747b8e005a1ada9cab18f1"),
        ("th", "c3a041864c3a9fb0b4dd91cfdf99cf36b411b3e704c58a303c97bc6dc786cfe4"),
        ("tr", "f3e8c13002bbce154a4578f535f7533cb70f3da08840e6b62735935baec7bd94"),
        ("vi", "e35926bf5cc6fc6ecbdfca49467aabeb454f08d152d7818143a906bd31dde995"),
        ("zh", "80c2cde7b9c2fb134c303cbb52f2ba396ead9eb0014aec43993543d2ba9e93ed"),
    )
)
# No checksum of these was published; that of the first download is kept.
BUCC = tuple(
    Published(f"bucc/{name}", (f"https://comparable.limsi.fr/bucc2018/{name}",), None)
    for code in LANGUAGES["bucc"]["xtreme"]
    for name in (f"bucc2018-{code}-en.sample-gold.tar.bz2", f"bucc2018-{code}-en.training-gold.tar.bz2")
)
