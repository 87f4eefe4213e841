"""An encoder under evaluation: its folder, name, heads and fingerprint."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from common.errors import InputError, loading
from common.files import file_sha256
from data_prep.encoding import tokenizer as tokenizers
from mtl.model import weight_files
from mtl.model.encoder import load_config, load_encoder
from mtl.model.saved_heads import LoadedHead, heads_folder_of, load_heads

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
_HUB_FILES = ["*.json", "sentencepiece.bpe.model", "vocab.txt", "merges.txt"]  # besides weights


@dataclass
class EvaluatedEncoder:
    """An encoder under evaluation. `spec`: a folder or a Hub id, as the user gave it. Weights are loaded lazily."""

    spec: str
    device: torch.device = DEVICE

    @cached_property
    def folder(self) -> Path:
        """The local folder; a Hub id is downloaded to the Hub's cache."""
        path = Path(self.spec)
        if path.is_dir():
            if not (path / "config.json").is_file():
                hint = f"; did you mean {path / 'encoder'}?" if (path / "encoder" / "config.json").is_file() else ""
                raise InputError(f"--encoder {self.spec}: no config.json there{hint}")
            return path
        if self.spec.count("/") != 1 or self.spec.startswith((".", "/")):
            raise InputError(f"--encoder {self.spec}: no such folder")
        from huggingface_hub import snapshot_download

        with loading(f"--encoder {self.spec}", "expected a folder, or a Hub id while the Hub can be reached"):
            folder = Path(snapshot_download(self.spec, allow_patterns=_HUB_FILES, ignore_patterns=["*/*"]))
            weight_files.require(self.spec, weight_files.download(self.spec, revision=folder.name))
            return folder

    @property
    def name(self) -> str:
        """runs/NAME/encoder -> NAME; runs/NAME/encoder_last -> NAME/encoder_last; else the folder's name or Hub id."""
        path = Path(self.spec)
        if not path.is_dir():
            return self.spec
        path = path.resolve()
        if path.name == "encoder":
            return path.parent.name
        return f"{path.parent.name}/{path.name}" if path.name.startswith("encoder") else path.name

    @property
    def eval_folder(self) -> Path:
        """Default folder of its scores: ENCODER/../eval, or a subfolder of it if the folder is not called `encoder`."""
        path = Path(self.spec)
        if not path.is_dir():
            return Path("runs") / self.spec.replace("/", "--") / "eval"
        beside = path.resolve().parent / "eval"
        return beside if path.resolve().name == "encoder" else beside / path.resolve().name

    @property
    def about(self) -> dict[str, str]:
        """What files of results say of it."""
        return {"encoder": self.spec, "name": self.name, "fingerprint": self.fingerprint}

    @cached_property
    def config(self) -> PretrainedConfig:
        with loading(f"--encoder {self.spec}: its config.json"):
            return load_config(self.folder)

    @property
    def depth(self) -> int:
        """Number of layers."""
        return int(self.config.num_hidden_layers)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        tokenizer = tokenizers.load(self.folder)
        if len(tokenizer) > self.config.vocab_size:
            raise InputError(
                f"--encoder {self.spec}: its tokenizer has {len(tokenizer)} tokens, its config"
                f" {self.config.vocab_size}: they do not belong together"
            )
        return tokenizer

    @cached_property
    def model(self) -> PreTrainedModel:
        with loading(f"--encoder {self.spec}"):
            return load_encoder(self.folder).to(self.device)

    @cached_property
    def heads(self) -> dict[str, LoadedHead]:
        """The heads saved with the encoder, by task (`encoder_last` has `heads_last`); none if it is not from a run."""
        folder = heads_folder_of(self.folder)
        heads = load_heads(folder) if folder.is_dir() else {}
        for head in heads.values():
            head.module.to(self.device)
        return heads

    def unload(self) -> None:
        """Frees the memory of model and heads; they are loaded again on the next access."""
        for name in ("model", "heads"):
            self.__dict__.pop(name, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the weights files, config.json and the tokenizer; the folder's place does not matter."""
        files = weight_files.require(self.spec, weight_files.weight_files(self.folder))
        digest = hashlib.sha256(tokenizers.fingerprint(self.tokenizer).encode())
        for path in [*files, self.folder / "config.json"]:
            digest.update(bytes.fromhex(file_sha256(path)))
        return digest.hexdigest()


def head_fingerprint(head: LoadedHead) -> str:
    """sha256 over a head's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(head.module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
