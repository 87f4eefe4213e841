"""The commits of the Hub's repositories that are read, where a public record names one; None where none was found.

Without a pin the commit of the first download is kept in `data/sources.lock.json` and used from then on. The records:
results and source of mteb (google/xquad, mteb/*), the Hub's own pages (izhx/mewsli-x), and public programs that name
the commit which they read.
"""

REVISIONS: dict[str, str | None] = {
    "Rowan/hellaswag": "218ec52e09a7e7462a5400043bb9a69a41d06b76",
    "allenai/cosmos_qa": None,  # a loading script: its makers' files are downloaded instead
    "aps/super_glue": "3de24cf8022e94f4ee4b9d55a6f539891524d646",
    "cambridgeltl/xcopa": None,
    "facebook/anli": None,
    "facebook/xnli": "b8dd5d7af51114dbda02c0e3f6133f332186418e",
    "google-research-datasets/paws-x": "4cd8187c404bda33cb1f62b49b001115862acf37",
    "google-research-datasets/tydiqa": "da78f23f9119363459acbaf46bf89426ff26c259",
    "google/xquad": "51adfef1c1287aab1d2d91b5bead9bcfb9c68583",
    "google/xtreme": None,
    "izhx/mewsli-x": "7e3723faa15c6d84cfd56d66cf6cd347be8ad00e",
    "izhx/xtreme-r-udpos": None,
    "lighteval/siqa": None,
    "mteb/tatoeba-bitext-mining": "69e8f12da6e31d59addadda9a9c8a2e601a0e282",
    "nyu-mll/glue": "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    "rajpurkar/squad": "7b6d24c440a36b6815f21b70d25016731768db1f",
    "rajpurkar/squad_v2": "3ffb306f725f7d2ce8394bc1873b24868140c412",
    "stanfordnlp/snli": "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b",
    "tau/commonsense_qa": "94630fe30dad47192a8546eb75f094926d47e155",
    "unimelb-nlp/wikiann": None,
    "wikimedia/wikipedia": "b04c8d1ceb2f5cd4588862100d08de323dccfbaa",
}
