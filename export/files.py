"""Data files, recognised by their bytes, and text files, written whole.

Whose work a model was trained on is known for the data of the shipped models, else only the file's name: a model
trained on other data never claims what is not so.
"""

from __future__ import annotations

import hashlib
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

COOKBOOKS = """\
365 Foreign Dishes; The Book of Household Management (Isabella Beeton); Recipes Tried and True (Ladies' Aid Society,
First Presbyterian Church, Marion, Ohio); Science in the Kitchen (E. E. Kellogg); The International Jewish Cook Book
(Florence Kreisler Greenbaum); Chocolate and Cocoa Recipes and Home Made Candy Recipes (Maria Parloa, Janet McKenzie
Hill); The New Dr. Price Cookbook; The White House Cook Book, 1887 (F. L. Gillette); Mrs. Wilson's Cook Book (Mary A.
Wilson); Salads, Sandwiches and Chafing-Dish Dainties (Janet McKenzie Hill); My Pet Recipes, Tried and True (Ladies and
Friends of St. Andrew's Church, Quebec); The Community Cook Book; The Italian Cook Book (Maria Gentile); The Suffrage
Cook Book (L. O. Kleber); The Cookery Blue Book; Dishes & Beverages of the Old South (Martha McCulloch-Williams);
Desserts and Salads (Gesine Lemcke); Fifty-Two Sunday Dinners (Elizabeth O. Hiller); The Century Cook Book (Mary
Ronald); The Myrtle Reed Cook Book (Myrtle Reed); The Hotel St. Francis Cook Book (Victor Hirtzler); Candy-Making at
Home (Mary M. Wright); The National Cook Book, 9th edition; Common Sense in the Household (Marion Harland); Lowney's
Cook Book (Maria Willett Howard); The Golden Rule Cook Book (M. R. L. Sharpe); The Art of German Cooking and Baking
(Lina Meier); Marion Harland's Complete Cook Book (Marion Harland); The Boston Cooking-School Cook Book (Fannie Merritt
Farmer); Favorite Dishes (Carrie V. Shuman); Miss Parloa's New Cook Book (Maria Parloa); A Guide to Modern Cookery
(A. Escoffier); Things Mother Used to Make (Lydia Maria Gurney); Woman's Institute Library of Cookery, volumes 1 to 5.
And public-domain-recipes, by its contributors (Unlicense)."""
CRAWL = """\
The tiles are by the artists of Dungeon Crawl Stone Soup, who released them under CC0:
https://github.com/crawl/tiles"""
FASHION = """\
Fashion-MNIST, copyright 2017 Zalando SE, MIT licence: Han Xiao, Kashif Rasul, Roland Vollgraf, Fashion-MNIST: a Novel
Image Dataset for Benchmarking Machine Learning Algorithms, 2017. https://github.com/zalandoresearch/fashion-mnist"""
SHAKESPEARE = """\
William Shakespeare; the selection known as tiny shakespeare is Andrej Karpathy's (MIT licence):
https://github.com/karpathy/char-rnn"""
TALES = """\
Jacob and Wilhelm Grimm, Fairy Tales, translated by Edgar Taylor and Marian Edwardes; Aesop, Fables, translated by
George Fyler Townsend"""
MNIST = """\
MNIST, by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, usually stated to be under CC BY-SA 3.0:
http://yann.lecun.com/exdb/mnist"""
NAMES = """\
The list of names is from Andrej Karpathy's makemore (MIT licence): https://github.com/karpathy/makemore"""


@dataclass(frozen=True)
class Source:
    """What a model card says of the training data."""

    data: str
    credit: str = ""
    licence: str = ""
    """Of the weights."""


def source_of(path: Path) -> Source:
    """What is known of a data file, or of a folder of them."""
    return _KNOWN.get(fingerprint(path), Source(path.name))


def fingerprint(*paths: Path) -> str:
    """SHA-256 of the files' bytes; of a folder, of all .gz and .txt files in the order of their names."""
    digest = hashlib.sha256()
    for file in (file for path in paths for file in _data_files(path)):
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _data_files(path: Path) -> list[Path]:
    return sorted([*path.glob("*.gz"), *path.glob("*.txt")]) if path.is_dir() else [path]


_KNOWN = {
    "f4dbb5da392c2eb51e761095d4c02f3365051c8a37d46e066e8e713d7a3c1b56": Source(
        "24,670 recipes: 37 cookbooks of 1861 to 1922, in the public domain in the USA, and 400 modern recipes from "
        "public-domain-recipes (Unlicense); here those of up to 200 words",
        COOKBOOKS,
        "MIT",
    ),
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed": Source(
        "tiny shakespeare: 1,115,394 characters of plays in the public domain, chosen by karpathy/char-rnn (MIT)",
        SHAKESPEARE,
        "MIT",
    ),
    "899dc9707bf42d9474210b692e6ef19e32d75743c782474a7cdd8815ceaf1283": Source(
        "742,717 characters of fairy tales of the brothers Grimm and fables of Aesop, in the public domain",
        TALES,
        "MIT",
    ),
    "ce5756b0dd8919cfd809d5ac049de613047f308d51b8dfae3bb3aa4212a95076": Source(
        "MNIST, 60,000 training pictures of digits", MNIST, "MIT"
    ),
    "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d": Source(
        "32,033 first names from karpathy/makemore (MIT)", NAMES, "MIT"
    ),
    "e71a29c25d6786b844bd0620c27449144d5c19830abc868a38437533abab57b2": Source(
        "Fashion-MNIST, 60,000 training pictures, Zalando SE (MIT)", FASHION, "MIT"
    ),
    "5791fc787a0079897b817930d40a2b990420bac60558845d5ebd8ed51b4847c8": Source(
        "58,000 figures composed from the player tiles of Dungeon Crawl Stone Soup, by its artists (CC0 release, "
        "crawl/tiles, Nov-2015)",
        CRAWL,
        "MIT",
    ),
}
"""By the SHA-256 of the bytes, of all files in the order of their names."""


def read_array_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and kind of number of a NumPy array whose values follow. Raises ValueError for a damaged one."""
    read = np.lib.format.read_array_header_2_0
    if np.lib.format.read_magic(file) == (1, 0):
        read = np.lib.format.read_array_header_1_0
    try:
        shape, _, dtype = read(file)
    except (tokenize.TokenError, SyntaxError, TypeError) as fault:  # Python's, which reads the header
        raise ValueError(f"its header is damaged: {fault}") from fault
    return shape, dtype
