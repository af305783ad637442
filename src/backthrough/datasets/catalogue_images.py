"""Registry entries of pictures, and of models and exact answers that go with them."""

from backthrough.datasets.entry import DataFile, Entry
from backthrough.datasets.image_loaders import (
    read_bit_packed,
    read_idx_images,
    read_packed_subset,
    read_partial_fashion,
)
from backthrough.datasets.text_loaders import read_arrays_and_numbers, read_named_arrays

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
MNIST_HOME = "https://yann.lecun.com/exdb/mnist/"
MNIST_LICENCE = "CC BY-SA 3.0 as commonly stated; the original page states none"
MNIST_CITATION = (
    "LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, 1998."
)
DSPRITES_HOME = "https://github.com/google-deepmind/dsprites-dataset"
DSPRITES_CITATION = "Matthey, Higgins, Hassabis, Lerchner, dSprites, 2017."

ENTRIES = (
    Entry(
        name="mnist",
        summary="handwritten digits, grey",
        shapes="60,000 + 10,000 pictures of 28 x 28",
        licence=MNIST_LICENCE,
        citation=MNIST_CITATION,
        home=MNIST_HOME,
        files=(
            DataFile(
                "mnist/train-images-idx3-ubyte.gz",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                f"{MNIST_URL}/train-images-idx3-ubyte.gz",
            ),
            DataFile(
                "mnist/train-labels-idx1-ubyte.gz",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                f"{MNIST_URL}/train-labels-idx1-ubyte.gz",
            ),
            DataFile(
                "mnist/t10k-images-idx3-ubyte.gz",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                f"{MNIST_URL}/t10k-images-idx3-ubyte.gz",
            ),
            DataFile(
                "mnist/t10k-labels-idx1-ubyte.gz",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                f"{MNIST_URL}/t10k-labels-idx1-ubyte.gz",
            ),
        ),
        read=read_idx_images,
        smaller="mnist-small",
    ),
    Entry(
        name="mnist-small",
        summary="a stratified part of mnist",
        shapes="10,000 + 2,000 pictures of 28 x 28, equally many of each digit",
        licence=MNIST_LICENCE,
        citation=MNIST_CITATION,
        home=MNIST_HOME,
        files=(
            DataFile(
                "mnist_small/mnist_small.npz",
                "e09d0a5bf8f678f9f9c2e77ad5650bab22b0c0c155bfb7527fae39a175794c5e",
            ),
        ),
        read=read_packed_subset,
        notes="Drawn from mnist with a fixed seed, training from training and test from test pictures, in "
        "the original order. Figures measured on it are not figures on MNIST.",
        bundled=True,
    ),
    Entry(
        name="binarized-mnist",
        summary="mnist binarised once and for all",
        shapes="50,000 + 10,000 + 10,000 rows of 784 zeros and ones",
        licence=f"{MNIST_LICENCE}; the binarisation: unknown",
        citation="Larochelle and Murray, The neural autoregressive distribution estimator, 2011.",
        home="https://github.com/mingzhang-yin/ARM-gradient",
        files=(
            DataFile(
                "binarized_mnist/binarized_mnist.npz",
                "5e34680fda1afdb3176a4a34a68f87a5994a1c15c5d3a790bbf18ec81918b8af",
            ),
        ),
        read=read_bit_packed,
        notes="Made by packing the rows of the three files binarized_mnist_*.amat into bits (arrays train, "
        "valid, test; test_y: labels found by matching the grey pictures). The TEST ROWS ARE SORTED BY "
        "DIGIT: shuffle before taking a part. Rows are not in the order of mnist; train and valid have no "
        "labels.",
    ),
    Entry(
        name="fashion-mnist-partial",
        summary="a part of Fashion-MNIST",
        shapes="3,615 training and 951 held-out pictures of 28 x 28",
        licence="MIT",
        citation="Xiao, Rasul, Vollgraf, Fashion-MNIST, 2017.",
        home="https://github.com/zalandoresearch/fashion-mnist",
        files=(
            DataFile(
                "fashion_mnist/fashion_mnist_subset.npz",
                "59f51e7b1259f455584dd4bf96c95a784b348a28fef6f103be41da83aac3fe89",
            ),
        ),
        read=read_partial_fashion,
        notes="The first 3,615 official training pictures; the held-out ones come from the official "
        "TRAINING set too, so figures on them must not be reported as Fashion-MNIST test. Arrays train_x, "
        "train_y, heldout_x, heldout_y.",
    ),
    Entry(
        name="omniglot",
        summary="handwritten characters of 50 alphabets, grey",
        shapes="19,280 background and 13,180 evaluation pictures of 28 x 28; character and drawer numbers "
        "of some",
        licence="MIT (drawings), CC0 (the 28 x 28 version)",
        citation="Lake, Salakhutdinov, Tenenbaum, Human-level concept learning, Science 350, 2015.",
        home="https://github.com/brendenlake/omniglot",
        files=(
            DataFile(
                "omniglot/omniglot_28x28.npz",
                "a6be25c54020483111a45f7bbca1c5defe267f85b338daa17174769753fae87b",
            ),
        ),
        read=read_named_arrays,
        notes="Cut from the sprite sheets of GusRuss89/omniglot-data-preprocessor. NOT the chardata.mat of "
        "Burda et al. 2015: other down-scaling, so likelihoods do not compare with published tables. "
        "Numbers are -1 where they are not known.",
    ),
    Entry(
        name="bdmc-vae-mnist",
        summary="weights of a public variational autoencoder of binarized-mnist",
        shapes="12 float32 arrays: encoder 784-200-200-2x50, decoder 50-200-200-784, ELU, torch layout "
        "(out, in)",
        licence="MIT",
        citation="Wu, Burda, Salakhutdinov, Grosse, On the quantitative analysis of decoder-based models, "
        "2017.",
        home="https://github.com/lxuechen/BDMC",
        files=(
            DataFile(
                "bdmc_vae_mnist/bdmc_vae_mnist.npz",
                "07f32a7d22d65a67d89a93b2e495e0ef01ddb73477e037b8f22f5f27a516bb10",
            ),
        ),
        read=read_named_arrays,
        notes="float32 copies of checkpoints/model.pth (epoch 4000); prior N(0, I), Bernoulli logits.",
    ),
    Entry(
        name="dsprites-replica",
        summary="our re-rendering of the whole dSprites grid",
        shapes="3 x 6 x 40 x 32 x 32 pictures of 64 x 64, packed into bits, and the factor values",
        licence="Apache-2.0 (derived from dSprites, changed)",
        citation=DSPRITES_CITATION,
        home=DSPRITES_HOME,
        files=(
            DataFile(
                "dsprites/dsprites_replica_packed.npz",
                "1bac5d6be2fc2621fb26097ce0e35f6a6abb204b86fb7ac51902f70ceef48888",
            ),
        ),
        read=read_named_arrays,
        notes="Not DeepMind's bytes: a few pixels differ in some pictures; report figures as "
        "'dSprites replica'. Unpack with numpy.unpackbits(imgs_packed[...], axis=-1). Orientations 0 and "
        "39 are the same. datasets.sprites() draws the same pictures, in any size, and needs no file.",
    ),
    Entry(
        name="dsprites-frames",
        summary="real dSprites pictures, a few",
        shapes="12 labelled pictures and 320 frames of 64 x 64, and the outline of the heart",
        licence="Apache-2.0",
        citation=DSPRITES_CITATION,
        home=DSPRITES_HOME,
        files=(
            DataFile(
                "dsprites/dsprites_real_frames.npz",
                "f937c4498f4a51731adbbc347d628ff4a988059f26a3d2431e667712bf1d50a8",
            ),
        ),
        read=read_named_arrays,
        notes="The 320 frames are those of dsprites.gif, thresholded; their classes (gif_classes_inferred) "
        "and the outline (heart_half_outline) are fitted by us, not original labels.",
    ),
    Entry(
        name="bccd-wbc",
        summary="photographs of blood cells with boxes around the cells",
        shapes="364 colour pictures of 96 x 128, 4,886 boxes, the split and the file names",
        licence="MIT as stated by the repository; its own source states none",
        citation="cosmicad and akshaylamba, BCCD dataset (S. Cheng's repository).",
        home="https://github.com/Shenggan/BCCD_Dataset",
        files=(
            DataFile(
                "bccd_wbc/bccd_96x128.npz", "1b2d344b048f05db870b338d2ef5fd115c3d7f47bbd106aed1631dbc9beb9547"
            ),
        ),
        read=read_named_arrays,
        notes="Each 640 x 480 picture reduced five times with a box filter. Boxes: picture, class (0 red "
        "cell, 1 white cell, 2 platelet), x0, y0, x1, y1. Many red cells have no box. Split windows by "
        "picture.",
        smaller="cell-windows-small",
    ),
    Entry(
        name="cell-windows-small",
        summary="windows of bccd-wbc, with and without a white cell",
        shapes="8 colour pictures of 32 x 32 with a white cell and its box, 4 without",
        licence="MIT as stated by the repository; its own source states none",
        citation="cosmicad and akshaylamba, BCCD dataset (S. Cheng's repository).",
        home="https://github.com/Shenggan/BCCD_Dataset",
        files=(
            DataFile(
                "bccd_wbc/cell_windows.npz",
                "ce6126e6eac2adbb28686e9da71dbcd84cca52eef1769beece6916be30683472",
            ),
        ),
        read=read_named_arrays,
        notes="Cut from test photographs of bccd-wbc after these were halved, one window from a photograph; "
        "boxes x0, y0, x1, y1 in pixels of the window, NaN where there is no white cell. To try explanations "
        "on, not to report figures on.",
        bundled=True,
    ),
    Entry(
        name="hypernet-oracles",
        summary="exact optima and hypergradients of ridge problems",
        shapes="arrays lam_h, w_h, hypergrad_h, lv_h, lam_opt_h for h = 1, 10, 650, and numbers by name",
        licence="free to use (computed for this project)",
        citation="Closed-form ridge solutions on the digits of scikit-learn.",
        home="https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html",
        files=(
            DataFile(
                "hypernet_hpo_oracles/digits_ridge_oracles.npz",
                "c2eaeab7484636ece1e7e2f79b30c28b76a23d1281b6a6d635c73e359d4413c5",
            ),
            DataFile(
                "hypernet_hpo_oracles/oracles.json",
                "b79673891ead7b128502608e884c26703d8861c45902de15c359295d47a57235",
            ),
        ),
        read=read_arrays_and_numbers,
        notes="The optimum for h = 650 and the values named h7850_lbfgs150 are upper bounds, the first a "
        "well converged local one.",
    ),
)
