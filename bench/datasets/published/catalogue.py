"""The catalogue of published datasets: one entry a name, loaded by the function of its family."""

from bench.datasets.published.obtain import Entry, Source

_TORCHVISION = 'bench.datasets.published.torchvision_sets:files_of'
_CIFAR = 'bench.datasets.published.torchvision_sets:cifar'
_IMAGENET = 'bench.datasets.published.imagenet:imagenet'
_VGG = 'https://www.robots.ox.ac.uk/~vgg/data'
_KRIZHEVSKY = 'https://www.cs.toronto.edu/~kriz'
_TINY_IMAGES = 'Krizhevsky: Learning Multiple Layers of Features from Tiny Images. Technical report, 2009'
_DOGS = 'http://vision.stanford.edu/aditya86/ImageNetDogs'
_EUROSAT_LISTS = 'https://hf.co/datasets/torchgeo/eurosat/resolve/1ce6f1bfb56db63fd91b6ecc466ea67f2509774c'

_IMAGENET_SOURCES = (
    Source(
        'imagenet/ILSVRC2012_img_train.tar', md5='1d675b47d978889d74fa0da5fadfb00e', num_bytes=147_897_477_120,
        makes='imagenet/train', nested=True,
    ),
    Source(
        'imagenet/ILSVRC2012_img_val.tar', md5='29b22e2961454d5413ddabcf34fc5622', num_bytes=6_744_924_160,
        makes='imagenet/val',
    ),
    Source(
        'imagenet/ILSVRC2012_devkit_t12.tar.gz', md5='fa75699e90414af021442c21a62c3abf',
        makes='imagenet/ILSVRC2012_devkit_t12', inside='ILSVRC2012_devkit_t12', unless='imagenet/val/n01440764',
    ),
)  # fmt: skip
_IMAGENET_FACTS = {
    'folder': 'imagenet',
    'licence': 'ImageNet terms of access: non-commercial research and education',
    'licence_url': 'https://image-net.org/download.php',
    'sources': _IMAGENET_SOURCES,
    'revision': 'ILSVRC2012',
    'manual': 'accept the terms at https://image-net.org/download.php, then take the ILSVRC2012 archives from there',
    'alternative': 'put folders of your own copy there, train/<wnid>/*.JPEG and val/<wnid>/*.JPEG',
}
_DENG = 'Deng, Dong, Socher, Li, Li, Fei-Fei: ImageNet: A Large-Scale Hierarchical Image Database. CVPR 2009'
_MTT = 'Cazenavette, Wang, Torralba, Efros, Zhu: Dataset Distillation by Matching Training Trajectories. CVPR 2022'

_ENTRIES = (
    Entry(
        'cub200', 'Caltech-UCSD Birds-200-2011, 200 species', 'bench.datasets.published.cub200:cub200',
        classes=200, train=5994, test=5794, folder='CUB_200_2011',
        licence='none stated in the files; photographs of Flickr users, for research',
        licence_url='https://www.vision.caltech.edu/datasets/cub_200_2011/',
        citation='Wah, Branson, Welinder, Perona, Belongie: The Caltech-UCSD Birds-200-2011 Dataset. CNS-TR-2011-001',
        sources=(
            Source(
                'CUB_200_2011.tgz', 'https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz',
                md5='97eceeb196236b17998738112f37df78', num_bytes=1_150_585_339,
                makes='CUB_200_2011', inside='CUB_200_2011',
            ),
        ),
    ),
    Entry(
        'stanford_dogs', 'Stanford Dogs, 120 breeds, from ImageNet', 'bench.datasets.published.stanford_dogs:stanford_dogs',
        classes=120, train=12_000, test=8580, folder='stanford_dogs',
        licence='none stated; photographs of ImageNet, for research', licence_url=f'{_DOGS}/',
        citation='Khosla, Jayadevaprakash, Yao, Fei-Fei: Novel Dataset for Fine-Grained Image Categorization. FGVC 2011',
        sources=(
            Source(
                'stanford_dogs/images.tar', f'{_DOGS}/images.tar', num_bytes=793_579_520,
                sha256='a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58',
                makes='stanford_dogs/Images', inside='Images',
            ),
            Source(
                'stanford_dogs/lists.tar', f'{_DOGS}/lists.tar', num_bytes=481_280,
                sha256='34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c', makes='stanford_dogs/lists',
            ),
        ),
    ),
    Entry(
        'flowers102', 'Oxford Flowers, 102 kinds, 10 training images each', _TORCHVISION,
        classes=102, train=1020, test=6149, folder='flowers-102',
        licence='none stated; photographs from the web, for research', licence_url=f'{_VGG}/flowers/102/',
        citation='Nilsback, Zisserman: Automated Flower Classification over a Large Number of Classes. ICVGIP 2008',
        sources=(
            Source(
                'flowers-102/imagelabels.mat', f'{_VGG}/flowers/102/imagelabels.mat',
                md5='e0620be6f572b9609742df49c70aed4d', num_bytes=502,
            ),
            Source(
                'flowers-102/setid.mat', f'{_VGG}/flowers/102/setid.mat',
                md5='a5357ecc9cb78c4bef273ce3793fc85c', num_bytes=14_989,
            ),
            Source(
                'flowers-102/102flowers.tgz', f'{_VGG}/flowers/102/102flowers.tgz',
                md5='52808999861908f626f3c1f4e79d11fa', num_bytes=344_862_509, makes='flowers-102/jpg', inside='jpg',
            ),
        ),
    ),
    Entry(
        'food101', 'Food-101, 101 dishes', _TORCHVISION,
        classes=101, train=75_750, test=25_250, folder='food-101',
        licence='scientific fair use; the photographs belong to their Foodspotting authors (license_agreement.txt)',
        licence_url='https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/',
        citation='Bossard, Guillaumin, Van Gool: Food-101 - Mining Discriminative Components with Random Forests. ECCV 2014',
        sources=(
            Source(
                'food-101.tar.gz', 'http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz',
                md5='85eeb15f3717b99a5da872d97d918f87', num_bytes=4_996_278_331, makes='food-101', inside='food-101',
            ),
        ),
    ),
    Entry(
        'fgvc_aircraft', 'FGVC Aircraft, 100 variants; trainval and test', _TORCHVISION,
        classes=100, train=6667, test=3333, folder='fgvc-aircraft-2013b', revision='2013b',
        licence='non-commercial research only', licence_url=f'{_VGG}/fgvc-aircraft/',
        citation='Maji, Rahtu, Kannala, Blaschko, Vedaldi: Fine-Grained Visual Classification of Aircraft. arXiv 1306.5151',
        sources=(
            Source(
                'fgvc-aircraft-2013b.tar.gz', f'{_VGG}/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz',
                md5='d4acdd33327262359767eeaa97a4f732', num_bytes=2_753_340_328,
                makes='fgvc-aircraft-2013b', inside='fgvc-aircraft-2013b',
            ),
        ),
    ),
    Entry(
        'stanford_cars', 'Stanford Cars, 196 models; its server is gone', _TORCHVISION,
        classes=196, train=8144, test=8041, folder='stanford_cars',
        licence='none stated; research use', licence_url='https://github.com/pytorch/vision/issues/7545',
        citation='Krause, Stark, Deng, Fei-Fei: 3D Object Representations for Fine-Grained Categorization. 3dRR, ICCV 2013',
        sources=(
            Source(
                'stanford_cars/car_devkit.tgz', md5='c3b158d763b6e2245038c8ad08e45376', num_bytes=330_960,
                makes='stanford_cars/devkit', inside='devkit',
            ),
            Source(
                'stanford_cars/cars_train.tgz', md5='065e5b463ae28d29e77c1b4b166cfe61', num_bytes=979_269_282,
                makes='stanford_cars/cars_train', inside='cars_train',
            ),
            Source(
                'stanford_cars/cars_test.tgz', md5='4ce7ebf6a94d07f1952d94dd34c4d501', num_bytes=977_350_468,
                makes='stanford_cars/cars_test', inside='cars_test',
            ),
            Source(
                'stanford_cars/cars_test_annos_withlabels.mat', md5='b0a2b23655a3edd16d84508592a98d10', num_bytes=185_758,
            ),
        ),
        manual='the original server is gone since 2023; these files, extracted, are at '
        'https://www.kaggle.com/datasets/rickyyyyyyy/torchvision-stanford-cars',
        alternative="take the Hugging Face copy: run.datasets = ['hf:tanganke/stanford_cars'], "
        "hf.revision = '9abf6cf7d6dfa7b95152a0d6e791ea9435b47a40'",
    ),
    Entry(
        'oxford_pets', 'Oxford-IIIT Pet, 37 breeds; trainval and test', _TORCHVISION,
        classes=37, train=3680, test=3669, folder='oxford-iiit-pet',
        licence='CC BY-SA 4.0', licence_url=f'{_VGG}/pets/',
        citation='Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs. CVPR 2012',
        sources=(
            Source(
                'oxford-iiit-pet/images.tar.gz', f'{_VGG}/pets/data/images.tar.gz',
                md5='5c4f3ee8e5d25df40f4fd59a7f44e54c', num_bytes=791_918_971,
                makes='oxford-iiit-pet/images', inside='images',
            ),
            Source(
                'oxford-iiit-pet/annotations.tar.gz', f'{_VGG}/pets/data/annotations.tar.gz',
                md5='95a8c909bbe2e81eed6a22bccdf3f68f', num_bytes=19_173_078,
                makes='oxford-iiit-pet/annotations', inside='annotations',
            ),
        ),
    ),
    Entry(
        'imagenet1k', 'ImageNet (ILSVRC2012), 1,000 classes; tested on the validation images', _IMAGENET,
        classes=1000, train=1_281_167, test=50_000, citation=_DENG, **_IMAGENET_FACTS,
    ),
    Entry(
        'imagenet100', 'ImageNet-100: the 100 classes of Contrastive Multiview Coding', _IMAGENET,
        classes=100, train=126_689, test=5000,
        citation='Tian, Krishnan, Isola: Contrastive Multiview Coding. ECCV 2020', **_IMAGENET_FACTS,
    ),
    Entry(
        'imagenet_birds', 'ten birds of ImageNet', _IMAGENET,
        classes=10, train=None, test=500, citation=_MTT, **_IMAGENET_FACTS,
    ),
    Entry(
        'imagenet_fruits', 'ten fruits of ImageNet', _IMAGENET,
        classes=10, train=None, test=500, citation=_MTT, **_IMAGENET_FACTS,
    ),
    Entry(
        'artbench10', 'ArtBench-10, ten styles of art at 256 px', 'bench.datasets.published.class_folders:artbench',
        classes=10, train=50_000, test=10_000, folder='artbench-10-imagefolder-split',
        licence='fair use, as requested by WikiArt, the Ukiyo-e.org database and The Surrealism Website',
        licence_url='https://github.com/liaopeiyuan/artbench/blob/main/LICENSE',
        citation='Liao, Li, Liu, Keutzer: The ArtBench Dataset: Benchmarking Generative Models with '
        'Artworks. arXiv 2206.11404',
        sources=(
            Source(
                'artbench-10-imagefolder-split.tar',
                'https://artbench.eecs.berkeley.edu/files/artbench-10-imagefolder-split.tar',
                md5='64f4d66dcf34b3c77e8c7d68fed2ec8c',
                makes='artbench-10-imagefolder-split', inside='artbench-10-imagefolder-split',
            ),
        ),
    ),
    Entry(
        'waterbirds', 'birds of land and water, 95% at home in training, 50% in test, 4 groups',
        'bench.datasets.published.waterbirds:waterbirds',
        classes=2, train=4795, test=5794, folder='waterbird_complete95_forest2water2',
        groups=('landbird on land', 'landbird on water', 'waterbird on land', 'waterbird on water'),
        train_groups=(3498, 184, 56, 1057),
        licence='non-commercial research and education',
        licence_url='https://github.com/p-lambda/wilds/blob/main/wilds/datasets/waterbirds_dataset.py',
        citation='Sagawa, Koh, Hashimoto, Liang: Distributionally Robust Neural Networks for Group Shifts. ICLR 2020',
        sources=(
            Source(
                'waterbird_complete95_forest2water2.tar.gz',
                'https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz',
                makes='waterbird_complete95_forest2water2', inside='waterbird_complete95_forest2water2',
            ),
        ),
    ),
    Entry(
        'spawrious', 'four dogs before generated scenes (O2O-Hard): a scene of training is another dog in test',
        'bench.datasets.published.spawrious:spawrious',
        classes=4, train=25_344, test=25_344, folder='spawrious/spawrious224',
        groups=tuple(
            f'{dog} in {scene}' for dog in ('bulldog', 'corgi', 'dachshund', 'labrador')
            for scene in ('desert', 'jungle', 'mountain', 'snow', 'beach')
        ),
        licence='CC BY 4.0', licence_url='https://github.com/aengusl/spawrious#licensing',
        citation='Lynch, Dovonon, Kaddour, Silva: Spawrious: A Benchmark for Fine Control of Spurious Correlation Biases. '
        'arXiv 2303.05470',
        sources=(
            Source(
                'spawrious/spawrious224__o2o_hard.tar.gz',
                'https://www.dropbox.com/s/p1ry121m2gjj158/spawrious224__o2o_hard.tar.gz?dl=1',
                makes='spawrious/spawrious224', inside='spawrious224',
            ),
        ),
    ),
    Entry(
        'cifar10', 'CIFAR-10, 32 px', _CIFAR,
        classes=10, train=50_000, test=10_000, folder='cifar-10-batches-py',
        licence='none stated', licence_url=f'{_KRIZHEVSKY}/cifar.html', citation=_TINY_IMAGES,
        sources=(
            Source(
                'cifar-10-python.tar.gz', f'{_KRIZHEVSKY}/cifar-10-python.tar.gz',
                md5='c58f30108f718f92721af3b95e74349a', num_bytes=170_498_071,
                makes='cifar-10-batches-py', inside='cifar-10-batches-py',
            ),
        ),
    ),
    Entry(
        'cifar100', 'CIFAR-100, fine labels, 32 px', _CIFAR,
        classes=100, train=50_000, test=10_000, folder='cifar-100-python',
        licence='none stated', licence_url=f'{_KRIZHEVSKY}/cifar.html', citation=_TINY_IMAGES,
        sources=(
            Source(
                'cifar-100-python.tar.gz', f'{_KRIZHEVSKY}/cifar-100-python.tar.gz',
                md5='eb9058c3a382ffc7106e4002c42a8d85', num_bytes=169_001_437,
                makes='cifar-100-python', inside='cifar-100-python',
            ),
        ),
    ),
    Entry(
        'eurosat', 'EuroSAT, ten kinds of land from Sentinel-2 (RGB, 64 px)',
        'bench.datasets.published.class_folders:eurosat',
        classes=10, train=16_200, test=5400, folder='eurosat', revision='split of arXiv 1911.06721',
        licence='MIT', licence_url='https://huggingface.co/datasets/torchgeo/eurosat',
        citation='Helber, Bischke, Dengel, Borth: EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and '
        'Land Cover Classification. IEEE JSTARS 12(7), 2019',
        sources=(
            Source(
                'eurosat/EuroSAT.zip',
                'https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip',
                md5='c8fa014336c82ac7804f0398fcb19387', num_bytes=94_280_567, makes='eurosat/2750', inside='2750',
            ),
            Source(
                'eurosat/eurosat-train.txt', f'{_EUROSAT_LISTS}/eurosat-train.txt',
                md5='908f142e73d6acdf3f482c5e80d851b1', num_bytes=314_000,
            ),
            Source(
                'eurosat/eurosat-test.txt', f'{_EUROSAT_LISTS}/eurosat-test.txt',
                md5='7ae5ab94471417b6e315763121e67c5f', num_bytes=104_000,
            ),
        ),
    ),
    Entry(
        'dtd', 'Describable Textures, 47 kinds; train and val of partition 1, and test', _TORCHVISION,
        classes=47, train=3760, test=1880, folder='dtd/dtd', revision='r1.0.1, partition 1',
        licence='research', licence_url=f'{_VGG}/dtd/',
        citation='Cimpoi, Maji, Kokkinos, Mohamed, Vedaldi: Describing Textures in the Wild. CVPR 2014',
        sources=(
            Source(
                'dtd/dtd-r1.0.1.tar.gz', f'{_VGG}/dtd/download/dtd-r1.0.1.tar.gz',
                md5='fff73e5086ae6bdbea199a49dfb8a4c1', num_bytes=625_239_812, makes='dtd/dtd', inside='dtd',
            ),
        ),
    ),
)  # fmt: skip

ENTRIES = {entry.name: entry for entry in _ENTRIES}
