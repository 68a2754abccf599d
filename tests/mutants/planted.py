"""The planted changes: each is a mistake in the science that somebody could make, with the tests that have to notice it.

`before` occurs exactly once in the file (tests/test_mutants.py), so whoever edits that line mends its entry here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A change of one file: `before` becomes `after`, which breaks what `breaks` says, and the `tests` fail."""

    name: str
    breaks: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


_SYNTHESIS = 'tests/test_synthesis.py'
_PROBE = 'tests/test_probe.py'
_CHOSEN = 'tests/test_chosen_ridge.py'
_GATE = 'tests/test_gate.py'
_FEATURES = 'tests/test_features.py'
_SELECTORS = 'tests/test_selectors.py'
_RIVALS = 'tests/test_rivals.py'
_SOFT = 'tests/test_soft_labels.py'
_RECORDS = 'tests/test_records.py::test_statistics_worked_by_hand'
_BITS = 'tests/test_records.py::test_correctness_bits_survive_packing'
_BOARD = 'tests/test_leaderboard.py'
_COMPARE = 'tests/test_compare.py'
_STATISTICS = 'tests/test_statistics.py'
_RUN = 'tests/test_run.py::test_one_distilled_set_serves_every_eval_backbone_and_protocol'
_LEAK = 'tests/test_rules.py::test_no_method_looks_at_the_test_split'
_NORMALISED = 'tests/test_backbones.py::test_images_are_normalised_by_the_backbones_own_mean_and_std'
_DEFAULTS = 'tests/test_gin_files.py::test_the_released_file_binds_the_defaults_of_the_method'
_NEIGHBOURS = 'tests/test_neighbors.py::test_candidates_are_ranked_by_cosine_within_the_class'
_REPLACED = 'tests/test_neighbors.py::test_each_image_is_replaced_by_its_nearest_and_a_taken_one_by_the_next'
_CROPS = 'tests/test_crops.py'
_LOOP = 'tests/test_released_loop.py'
_EVALUATOR = 'tests/test_released_evaluator.py'
_TABLES = 'tests/test_paper_settings.py::test_a_table_has_the_published_settings'
_WIRING = 'tests/test_wiring.py'
_RESUMED = 'tests/test_checkpoints.py::test_a_killed_and_resumed_run_gives_the_same_bits'

PYRAMID = (
    Mutant(
        'growth_keeps_scale', 'a grown pyramid has more contrast than before',
        'methods/_synthesis/pyramid.py', 'level.detach() * (old / new)', 'level.detach()', (_SYNTHESIS,),
    ),
    Mutant(
        'new_level_too_strong', 'the noise of a new level is not divided by the number of levels',
        'methods/_synthesis/pyramid.py', 'self._noise(self.sizes[old]) / new', 'self._noise(self.sizes[old])', (_SYNTHESIS,),
    ),
    Mutant(
        'starts_at_2_pixels', 'the pyramid starts with two levels',
        'methods/_synthesis/distil.py', "start_size=1 if parameterization == 'pyramid'",
        "start_size=2 if parameterization == 'pyramid'", (_WIRING,),
    ),
    Mutant(
        'nearest_upsampling', 'levels are upsampled in blocks',
        'methods/_synthesis/pyramid.py', "mode='linear', align_corners=False", "mode='nearest'", (_WIRING,),
    ),
    Mutant(
        'corners_aligned', 'levels are upsampled with their corners aligned',
        'methods/_synthesis/pyramid.py', "mode='linear', align_corners=False", "mode='linear', align_corners=True",
        (_WIRING,),
    ),
    Mutant(
        'colours_transposed', 'the colour matrix is transposed',
        'methods/_synthesis/pyramid.py', '(self._colour_33 @', '(self._colour_33.T @', (_SYNTHESIS,),
    ),
    Mutant(
        'colours_by_rows', 'the colour matrix is divided by its largest row norm',
        'methods/_synthesis/pyramid.py', 'c_33.norm(dim=0).max()', 'c_33.norm(dim=1).max()', (_SYNTHESIS,),
    ),
    Mutant(
        'sigmoid_of_x', 'the sigmoid lacks its factor of 2',
        'methods/_synthesis/pyramid.py', 'torch.sigmoid(2 * x_NCHW)', 'torch.sigmoid(x_NCHW)', (_SYNTHESIS,),
    ),
    Mutant(
        'one_start_noise', 'all images start from the same noise',
        'methods/_synthesis/pyramid.py', 'self.first + i, size', '0, size', (_WIRING,),
    ),
    Mutant(
        'start_ignores_seed', 'every method seed starts from the same noise',
        'methods/_synthesis/pyramid.py', "derive_seed('pyramid', self.seed,", "derive_seed('pyramid', 0,", (_WIRING,),
    ),
    Mutant(
        'photographs_in_other_colours', 'images that start from photographs do not decode to them',
        'methods/_synthesis/pyramid.py', 'torch.linalg.inv(colour_33(self.dtype))',
        'torch.linalg.inv(colour_33(self.dtype)).T', (_SYNTHESIS,),
    ),
)  # fmt: skip

LOOP = (
    Mutant(
        'moments_kept', "Adam's moments survive the growth of the pyramid",
        'methods/_synthesis/match.py', '            pyramid.grow()\n            optimizer = _adam(pyramid)',
        '            old = optimizer.state_dict()["state"]\n'
        '            pyramid.grow()\n            optimizer = _adam(pyramid)\n'
        '            optimizer.state.update({pyramid.levels[i]: moments for i, moments in old.items()})', (_LOOP,),
    ),
    Mutant(
        'growth_late', 'the pyramid grows one update late',
        'methods/_synthesis/match.py', 'step > self.level_delay and (step - self.level_delay) % self.level_every == 0',
        'step - 1 > self.level_delay and (step - 1 - self.level_delay) % self.level_every == 0', (_LOOP,),
    ),
    Mutant(
        'rate_not_divided', 'the rate is not divided by the number of levels in the loop',
        'methods/_synthesis/match.py', 'schedule.rate(step, len(pyramid.levels))', 'schedule.rate(step, 1)', (_LOOP,),
    ),
    Mutant(
        'rate_set_once', 'the rate stays that of the first update',
        'methods/_synthesis/match.py', "group['lr'] = schedule.rate(step,", "group['lr'] = schedule.rate(0,", (_LOOP,),
    ),
    Mutant(
        'decay_on_images', 'images have weight decay',
        'methods/_synthesis/match.py', 'torch.optim.Adam(pyramid.levels,', 'torch.optim.AdamW(pyramid.levels,', (_LOOP,),
    ),
    Mutant(
        'gradients_add_up', 'gradients of earlier updates are not cleared',
        'methods/_synthesis/match.py', 'optimizer.zero_grad(set_to_none=True)', 'pass', (_LOOP,),
    ),
    Mutant(
        'views_ignore_seed', 'the views of synthetic images are the same for every method seed',
        'methods/_synthesis/distil.py', "derive_seed('synthesis', 'views', task.seed)", "derive_seed('synthesis', 'views')",
        (_WIRING,),
    ),
    Mutant(
        'real_draws_ignore_seed', 'real batches and probes are the same for every method seed',
        'methods/_synthesis/distil.py', "derive_seed('synthesis', 'real', task.seed)", "derive_seed('synthesis', 'real')",
        (_WIRING,),
    ),
    Mutant(
        'default_augmentation', 'the augmentation of synthetic images ignores all settings',
        'methods/_synthesis/distil.py', 'augmentation=augmentation, chunking=', 'augmentation=Augmentation(), chunking=',
        (_WIRING,),
    ),
    Mutant(
        'chunk_loses_copies', 'the gradient of a chunk goes to the wrong views',
        'methods/_synthesis/match.py', '.backward(cotangent_AND[copies, images])',
        '.backward(cotangent_AND.flip(0)[copies, images])', (_SYNTHESIS,),
    ),
    Mutant(
        'labels_in_turns', 'the labels of the images are 0, 1, 2, 0, 1, 2 and not 0, 0, 1, 1, 2, 2',
        'methods/_synthesis/distil.py', 'np.repeat(np.arange(task.train.num_classes), task.ipc)',
        'np.tile(np.arange(task.train.num_classes), task.ipc)', (_SYNTHESIS,),
    ),
    Mutant(
        'floored', 'stored images are rounded down',
        'bench/distillation/distilled_set.py', 'np.round(np.clip(x_NCHW, 0, 1) * 255)', '(np.clip(x_NCHW, 0, 1) * 255)',
        (_WIRING,),
    ),
    Mutant(
        'stored_transposed', 'stored images have rows and columns exchanged',
        'bench/distillation/distilled_set.py', '.transpose(0, 2, 3, 1)', '.transpose(0, 3, 2, 1)', (_WIRING,),
    ),
    Mutant(
        'stored_bgr', 'stored images have red and blue exchanged',
        'bench/distillation/distilled_set.py', '.transpose(0, 2, 3, 1)', '[:, ::-1].transpose(0, 2, 3, 1)', (_WIRING,),
    ),
    Mutant(
        'delay_not_bound', 'level_delay is ignored',
        'methods/_synthesis/distil.py', 'level_every, level_delay)', 'level_every, 0)', (_WIRING,),
    ),
    Mutant(
        'default_not_released', 'a default of lgm is not that of the release',
        'methods/_synthesis/distil.py', "Since('2026-11', neutral=0)] = 1", "Since('2026-11', neutral=0)] = 0",
        (_DEFAULTS,),
    ),
    Mutant(
        'half_cosine_from_the_start', 'the rate falls from the first update on',
        'methods/_synthesis/match.py', 'start = self.decay_start * self.num_updates', 'start = 0.0', (_SYNTHESIS,),
    ),
)  # fmt: skip

GRADIENT = (
    Mutant(
        'no_bias_column', 'the gradient of the bias is left out',
        'methods/_synthesis/gradient.py', 'F.pad(f_ND, (0, 1), value=1.0)', 'F.pad(f_ND, (0, 1), value=0.0)', (_SYNTHESIS,),
    ),
    Mutant(
        'sum_over_samples', 'the gradient is a sum over the samples and no mean',
        'methods/_synthesis/gradient.py', 'weights_N = 1 / len(f_ND) if', 'weights_N = 1.0 if', (_SYNTHESIS,),
    ),
    Mutant(
        'softmax_without_probe', 'the softmax ignores the probe',
        'methods/_synthesis/gradient.py', 'torch.softmax(logits_PNC, dim=-1)', 'torch.softmax(0 * logits_PNC, dim=-1)',
        (_SYNTHESIS,),
    ),
    Mutant(
        'cosine_per_class', 'one cosine per class and not of the whole gradient',
        'methods/_synthesis/gradient.py', 'g_PCD.flatten(1), target_PCD.flatten(1), dim=1', 'g_PCD, target_PCD, dim=2',
        (_SYNTHESIS,),
    ),
    Mutant(
        'sign_of_error', 'the gradient points uphill',
        'methods/_synthesis/gradient.py', '(torch.softmax(logits_PNC, dim=-1) - y_NC)',
        '(y_NC - torch.softmax(logits_PNC, dim=-1))', (_SYNTHESIS,),
    ),
    Mutant(
        'probes_of_spread_1', 'random probes have the spread 1',
        'methods/_synthesis/gradient.py', 'return sigma * torch.randn(count', 'return torch.randn(count', (_SYNTHESIS,),
    ),
    Mutant(
        'spread_not_bound', 'lgm ignores probe_sigma',
        'methods/lgm.py', 'sigma=probe_sigma', 'sigma=0.01', (_WIRING,),
    ),
    Mutant(
        'one_probe_only', 'lgm ignores num_probes',
        'methods/lgm.py', 'num_probes, num_classes=real.num_classes', '1, num_classes=real.num_classes', (_WIRING,),
    ),
    Mutant(
        'same_probe_every_update', 'lgm uses one probe for all updates',
        'methods/lgm.py', 'generator=real.generator', 'generator=torch.Generator(real.device).manual_seed(0)', (_WIRING,),
    ),
    Mutant(
        'real_batch_without_views', 'the real batch has ipc * C images and not ipc * A * C',
        'methods/lgm.py', "else views, balanced", "else synthetic.total, balanced", (_WIRING,),
    ),
    Mutant(
        'balance_not_bound', 'lgm ignores class_balanced',
        'methods/lgm.py', 'balanced=class_balanced', 'balanced=True', (_WIRING,),
    ),
    Mutant(
        'first_view_only', 'only the first view of a synthetic image is matched',
        'methods/lgm.py', 'for f_ND in synthetic.f_AND)', 'for f_ND in synthetic.f_AND[:1])', (_WIRING,),
    ),
)  # fmt: skip

REAL = (
    Mutant(
        'real_view_0', 'only the first cached view of the real images is used',
        'methods/_synthesis/real.py', 'torch.randint(self.num_views, rows_B.shape', 'torch.randint(1, rows_B.shape',
        (_WIRING,),
    ),
    Mutant(
        'real_not_flipped', 'real views are never flipped',
        'methods/_synthesis/distil.py', 'flip_prob=augmentation.flip_prob', 'flip_prob=0.0', (_WIRING,),
    ),
    Mutant(
        'real_without_noise', 'real views have no noise',
        'methods/_synthesis/distil.py', 'noise_prob=augmentation.noise_prob', 'noise_prob=0.0', (_WIRING,),
    ),
    Mutant(
        'real_noise_without_mean', 'the noise of real views has the mean 0 whatever is bound',
        'methods/_synthesis/distil.py', 'noise_mean=augmentation.noise_mean', 'noise_mean=0.0', (_WIRING,),
    ),
    Mutant(
        'real_crop_of_default_area', 'crops of real images ignore crop_min_area',
        'methods/_synthesis/distil.py', 'scale=augmentation.scale', 'scale=(0.08, 1.0)', (_WIRING,),
    ),
    Mutant(
        'real_crop_inside', 'crops of real images lie inside them whatever is bound',
        'methods/_synthesis/distil.py', 'overhang=augmentation.overhang', 'overhang=False', (_WIRING,),
    ),
    Mutant(
        'real_from_the_whole', 'crops of real images are taken from the whole image whatever is bound',
        'methods/_synthesis/distil.py', 'ratio=augmentation.ratio, frame=frame', "ratio=augmentation.ratio, frame='whole'",
        (_WIRING,),
    ),
    Mutant(
        'real_filter_not_bound', "real images are resized with the backbone's own filter whatever is bound",
        'methods/_synthesis/distil.py', 'interpolation or backbone.interpolation', 'backbone.interpolation', (_WIRING,),
    ),
    Mutant(
        'synthetic_crop_inside', 'crops of synthetic images lie inside them whatever is bound',
        'methods/_synthesis/distil.py', 'overhang=overhang, flip_prob', 'overhang=False, flip_prob', (_WIRING,),
    ),
    Mutant(
        'synthetic_uncropped_is_whole', 'without crops a synthetic view is the whole picture and a real one its centre',
        'methods/_synthesis/distil.py', ', centre=central_box(task.encoder.input_side)', '', (_WIRING,),
    ),
    Mutant(
        'fresh_views_repeat', 'every update sees the same fresh views of the real images',
        'methods/_synthesis/real.py', 'number=self._uses - 1', 'number=0', (_WIRING,),
    ),
    Mutant(
        'fresh_views_ignore_seed', 'fresh views of real images are the same for every method seed',
        'methods/_synthesis/real.py', 'seed=derive_seed(self.view.seed, self.task.seed)', 'seed=self.view.seed', (_WIRING,),
    ),
    Mutant(
        'fresh_features_of_others', 'fresh views are those of other images than their labels',
        'bench/distillation/task.py', 'indices_N=rows_M).split', 'indices_N=np.sort(rows_M)).split', (_WIRING,),
    ),
    Mutant(
        'fresh_views_again_after_a_kill', 'a resumed run sees fresh views of real images that it has seen before the kill',
        'methods/_synthesis/real.py', "self._uses = state.get('uses', 0)", 'self._uses = 0', (_RESUMED,),
    ),
    Mutant(
        'full_pass_dropped', 'a pass whose last batch is full loses it',
        'methods/_synthesis/real.py', 'self._next + count > total >= count', 'self._next + count >= total >= count',
        (_SYNTHESIS,),
    ),
    Mutant(
        'last_batch_kept', 'the rest of a pass that does not fill a batch is used',
        'methods/_synthesis/distil.py', 'drop_last=drop_last', 'drop_last=False', (_WIRING,),
    ),
    Mutant(
        'min_area_not_bound', 'crop_min_area is ignored on both sides',
        'methods/_synthesis/distil.py', 'scale=(crop_min_area, 1.0)', 'scale=(0.08, 1.0)', (_WIRING,),
    ),
    Mutant(
        'balance_reversed', 'equal weight goes to images where classes are asked for',
        'methods/_synthesis/real.py', 'if balanced else', 'if not balanced else', (_SYNTHESIS,),
    ),
    Mutant(
        'pass_repeats', 'a shuffled pass draws with replacement',
        'methods/_synthesis/real.py', 'torch.randperm(total, ', 'torch.randint(total, (total,), ', (_SYNTHESIS,),
    ),
    Mutant(
        'means_of_the_test_view', 'class means over random views are those of the test view',
        'methods/_synthesis/real.py', 'if not views:', 'if True:', (_WIRING,),
    ),
    Mutant(
        'covariance_by_images', 'the covariance weighs images alike and not classes',
        'methods/_synthesis/real.py', '1 / self.counts_C[self.labels_N].to(self.dtype) / (self.counts_C > 0).sum()',
        'torch.full((len(self.labels_N),), 1 / len(self.labels_N))', (_RIVALS,),
    ),
    Mutant(
        'method_sees_test', 'a method is given the test split',
        'bench/pipeline/distil.py', 'train=plan.train', 'train=session.dataset(cell.dataset).test', (_LEAK,),
    ),
    Mutant(
        'method_seed_0', 'every method seed is 0',
        'bench/pipeline/distil.py', 'seed=cell.seed, backbone', 'seed=0, backbone', (_WIRING,),
    ),
)  # fmt: skip

VIEWS = (
    Mutant(
        'shared_crop', 'all views of all synthetic images have one crop',
        'methods/_synthesis/augment.py', 'boxes_M4.view(count', 'boxes_M4[:1].repeat(total, 1).view(count', (_CROPS,),
    ),
    Mutant(
        'shared_noise', 'all views have the same picture of noise',
        'methods/_synthesis/augment.py', 'views.noise_seed + stream', 'views.noise_seed', (_CROPS,),
    ),
    Mutant(
        'synthetic_not_flipped', 'synthetic views are never flipped',
        'methods/_synthesis/augment.py', '< self.flip_prob', '< 0', (_SYNTHESIS,),
    ),
    Mutant(
        'synthetic_noise_without_mean', 'the noise of synthetic views has the mean 0',
        'methods/_synthesis/augment.py', 'noise.normal_(self.noise_mean', 'noise.normal_(0.0', (_SYNTHESIS,),
    ),
    Mutant(
        'noise_everywhere', 'every synthetic view has noise',
        'methods/_synthesis/augment.py', 'noisy_NA.nonzero()', 'torch.ones_like(noisy_NA).nonzero()', (_SYNTHESIS,),
    ),
    Mutant(
        'area_of_squared_share', 'the area of crops inside the image is too small',
        'bench/features/crops.py', 'area = side * side * _uniform(scale, _TRIES, count, generator=generator)',
        'area = (side * _uniform(scale, _TRIES, count, generator=generator)) ** 2', (_SYNTHESIS,),
    ),
    Mutant(
        'uniform_aspect_inside', 'the aspect of crops inside the image is uniform and not log-uniform',
        'bench/features/crops.py',
        'torch.exp(_uniform((math.log(ratio[0]), math.log(ratio[1])), _TRIES, count, generator=generator))',
        '_uniform(ratio, _TRIES, count, generator=generator)', (_CROPS,),
    ),
    Mutant(
        'uniform_aspect_released', 'the aspect of released crops is uniform and not log-uniform',
        'bench/features/crops.py',
        'torch.exp(_uniform((math.log(ratio[0]), math.log(ratio[1])), count, generator=generator))',
        '_uniform(ratio, count, generator=generator)', (_CROPS,),
    ),
    Mutant(
        'released_crop_cut', 'released crops are cut to the sides of the image',
        'bench/features/crops.py', 'corners_2M = torch.rand(2, count, generator=generator) * (1 - sides_2M)',
        'sides_2M = sides_2M.clamp(max=1)\n    corners_2M = torch.rand(2, count, generator=generator) * (1 - sides_2M)',
        (_CROPS,),
    ),
    Mutant(
        'released_crop_at_corner', 'released crops all begin at the upper left corner',
        'bench/features/crops.py', 'torch.rand(2, count, generator=generator) * (1 - sides_2M)',
        '0 * torch.rand(2, count, generator=generator) * (1 - sides_2M)', (_CROPS,),
    ),
    Mutant(
        'border_outside', 'outside of the image a released crop repeats the border',
        'bench/features/crops.py', "'zeros' if overhang else 'border'", "'border'", (_CROPS,),
    ),
    Mutant(
        'random_square_in_the_centre', 'a random square is the central one',
        'bench/features/views.py', 'else RandomCrop(square)(image)', 'else F.center_crop(image, [square, square])',
        (_CROPS,),
    ),
    Mutant(
        'square_not_reduced', 'crops from a square are taken from the image before it is reduced',
        'bench/features/views.py', 'image = F.resize(image, [square], interpolation=mode)',
        'square = min(image.size)', (_LOOP,),
    ),
    Mutant(
        'flipped_upside_down', 'views are mirrored from top to bottom',
        'bench/features/crops.py', 'y_MS = height_M1 * centres_S',
        'mirrored_M1, height_M1 = width_M1, height_M1 * mirrored_M1.sign()\n'
        '    x_MS = mirrored_M1 * centres_S + (2 * left_M1 + width_M1 - 1)\n    y_MS = height_M1 * centres_S', (_SYNTHESIS,),
    ),
    Mutant(
        'crop_area_of_half', 'random views of real images take a quarter of the image or more',
        'bench/features/views.py', 'crop: bool = True\n    scale: tuple[float, float] = (0.08, 1.0)',
        'crop: bool = True\n    scale: tuple[float, float] = (0.25, 1.0)', (_FEATURES,),
    ),
    Mutant(
        'square_crops', 'random views of real images are square',
        'bench/features/views.py', 'ratio: tuple[float, float] = (3 / 4, 4 / 3)',
        'ratio: tuple[float, float] = (1.0, 1.0)', (_FEATURES,),
    ),
    Mutant(
        'test_view_not_resized_to_256', 'the test view is resized to 224 pixels',
        'bench/features/views.py', 'RESIZE_OVER_CROP = 256 / 224', 'RESIZE_OVER_CROP = 1.0', (_FEATURES,),
    ),
    Mutant(
        'central_box_in_the_corner', 'a synthetic view without a crop is the upper left corner',
        'bench/features/views.py', 'corner = round((square - side) / 2)', 'corner = 0', (_WIRING,),
    ),
    Mutant(
        'test_view_in_the_corner', 'the test view is the upper left corner',
        'bench/features/views.py', 'return F.pil_to_tensor(F.center_crop(image, [self.side, self.side]))\n\n    def key',
        'return F.pil_to_tensor(F.crop(image, 0, 0, self.side, self.side))\n\n    def key', (_FEATURES,),
    ),
    Mutant(
        'one_view_only', 'all random views of an image are the same',
        'bench/features/views.py', "derive_seed('view', self.seed, index, view)", "derive_seed('view', self.seed, index)",
        (_FEATURES,),
    ),
    Mutant(
        'bytes_over_256', 'white is 255/256',
        'bench/features/encode.py', 'torch.full((), 255.0,', 'torch.full((), 256.0,', (_FEATURES,),
    ),
    Mutant(
        'view_not_in_cache_key', 'features of one view are taken for those of another',
        'bench/features/store.py', "'view': view.key(),", "'view': '',", (_FEATURES,),
    ),
    Mutant(
        'mean_and_std_exchanged', 'images are normalised with mean and standard deviation exchanged',
        'bench/backbones/base.py', '(x_NCHW - mean) / std', '(x_NCHW - std) / mean', (_NORMALISED,),
    ),
    Mutant(
        'network_sees_bgr', 'networks see blue, green, red',
        'bench/backbones/base.py', 'f_ND = self.network(x_NCHW)', 'f_ND = self.network(x_NCHW.flip(1))',
        (_NORMALISED,),
    ),
)  # fmt: skip

PROBES = (
    Mutant(
        'rate_without_batch', 'the learning rate is not scaled by the batch',
        'bench/probes/adam.py', 'peak_rate = rate_per_256 * batch_size / 256', 'peak_rate = rate_per_256', (_PROBE,),
    ),
    Mutant(
        'rate_rises', 'the learning rate rises along the cosine',
        'bench/probes/adam.py', '(1 + math.cos(math.pi * done))', '(1 - math.cos(math.pi * done))', (_PROBE,),
    ),
    Mutant(
        'start_of_spread_1', 'initial weights have the spread 1',
        'bench/probes/adam.py', '(sigma * start_RCD)', '(start_RCD)', (_PROBE,),
    ),
    Mutant(
        'epochs_100', 'a probe of a distilled set is trained for 100 epochs',
        'bench/probes/adam.py', '    epochs: PositiveInt = 1000,', '    epochs: PositiveInt = 100,', (_PROBE,),
    ),
    Mutant(
        'full_batch_100', 'full data is trained in batches of 100',
        'bench/probes/adam.py', 'full_batch_size: PositiveInt = 128', 'full_batch_size: PositiveInt = 100', (_PROBE,),
    ),
    Mutant(
        'batches_of_128', 'a distilled set is trained in the batches of full data',
        'bench/probes/adam.py', 'full_batch_size if task.is_full else batch_size', 'full_batch_size', (_PROBE,),
    ),
    Mutant(
        'weight_decay', 'the probe has weight decay',
        'bench/probes/adam.py', 'torch.optim.Adam([w_RCD, b_RC],', 'torch.optim.Adam([w_RCD, b_RC], weight_decay=1e-4,',
        (_PROBE,),
    ),
    Mutant(
        'order_shared', 'all repeats see the images in the same order',
        'bench/probes/adam.py', 'torch.stack([torch.randperm(len(task.train), generator=g) for g in generators])',
        'torch.stack([torch.randperm(len(task.train), generator=g) for g in generators])[:1].repeat(repeats, 1)', (_PROBE,),
    ),
    Mutant(
        'bias_frozen', 'the bias of the probe stays 0',
        'bench/probes/adam.py', 'b_RC.grad = error_RBC.sum(dim=1)', 'b_RC.grad = 0 * error_RBC.sum(dim=1)', (_PROBE,),
    ),
    Mutant(
        'sum_over_batch', 'the loss is a sum over the batch, so that a small last batch counts less',
        'bench/probes/adam.py', '(log_p_RBC.exp() - y_RBC) / f_RBD.shape[1]', 'log_p_RBC.exp() - y_RBC', (_PROBE,),
    ),
    Mutant(
        'best_epoch_kept', 'the probe is tested after every epoch, and the best test accuracy is told',
        'bench/probes/adam.py',
        '            advance()\n'
        "    curves, probes = {'probe/train_loss': _curve(losses)}, (w_RCD.detach(), b_RC.detach())\n",
        '            advance()\n'
        '            tested = score(task, w_RCD.detach(), b_RC.detach(), curves={}).correct_RN.mean()\n'
        '            if epoch == 0 or tested > best[0]:\n'
        '                best = (tested, w_RCD.detach().clone(), b_RC.detach().clone())\n'
        "    curves, probes = {'probe/train_loss': _curve(losses)}, best[1:]\n", (_PROBE,),
    ),
    Mutant(
        'soft_labels_ignored', 'the probe is trained on the most likely class',
        'bench/probes/task.py', 'return torch.from_numpy(self.targets_NC)[rows].to(device, dtype)',
        'return torch.from_numpy(self.targets_NC == self.targets_NC.max(axis=1, keepdims=True))[rows].to(device, dtype)',
        (_PROBE,),
    ),
    Mutant(
        'tested_on_random_views', 'test images are seen in a random view',
        'bench/probes/task.py', 'view = CenterView(task.backbone.input_side, ',
        'from bench.features.views import RandomView\n'
        '    view = RandomView(task.backbone.input_side, seed=0, interpolation=', (_WIRING,),
    ),
    Mutant(
        'test_filter_not_bound', "release-v1 resizes test images with the backbone's own filter",
        'bench/probes/task.py', 'interpolation or task.backbone.interpolation', 'task.backbone.interpolation', (_WIRING,),
    ),
    Mutant(
        'probe_on_the_test_view', 'the probe is trained on the test view',
        'bench/probes/adam.py', "seed=derive_seed('probe views'),\n",
        "seed=derive_seed('probe views'), crop=False, flip_prob=0.0,\n", (_WIRING,),
    ),
    Mutant(
        'train_filter_not_bound', "release-v1 resizes training images with the backbone's own filter",
        'bench/probes/adam.py', 'interpolation or task.backbone.interpolation', 'task.backbone.interpolation', (_WIRING,),
    ),
    Mutant(
        'probe_crop_inside', 'release-v1 draws its crops inside the image',
        'bench/probes/adam.py', 'overhang=overhang,', 'overhang=False,', (_WIRING,),
    ),
    Mutant(
        'full_from_the_centre', 'release-v1 takes the crops of full data from the central square',
        'bench/probes/adam.py', "'random' if task.is_full else 'center'", "'center'", (_WIRING,),
    ),
    Mutant(
        'not_from_a_square', 'release-v1 takes crops from the whole image',
        'bench/probes/adam.py', "'whole' if not square else", "'whole' if True else", (_WIRING,),
    ),
    Mutant(
        'rate_by_step', 'the rate of release-v1 falls within an epoch',
        'bench/probes/adam.py', "(step if cosine == 'step' else 0)", 'step', (_EVALUATOR,),
    ),
    Mutant(
        'released_rate_not_bound', 'release-v1 has the schedule of paper-v1',
        'bench/probes/protocols.py', ", 'cosine': 'epoch'", '', (_EVALUATOR,),
    ),
    Mutant(
        'pool_shared', 'all repeats draw from one pool of views',
        'bench/probes/adam.py', 'own if own_views and not task.is_full else [view]', '[view]', (_WIRING,),
    ),
    Mutant(
        'exact_reuses_views', 'paper-v1-exact and release-v1 see their first views again and again',
        'bench/probes/adam.py', 'views=numbers)', 'views=range(len(numbers)))', (_WIRING,),
    ),
    Mutant(
        'exact_from_a_pool', 'paper-v1-exact draws from a pool',
        'bench/probes/protocols.py', "settings={'num_views': None, 'full_views': None}", "settings={'full_views': None}",
        (_WIRING,),
    ),
    Mutant(
        'top3', 'top-5 accuracy counts three classes',
        'bench/probes/task.py', 'count=5 if has_top5', 'count=3 if has_top5', (_PROBE,),
    ),
    Mutant(
        'top1_of_top5', 'top-1 accuracy counts five classes',
        'bench/probes/task.py', 'correct_RN=hits_RNK[:, :, 0]', 'correct_RN=hits_RNK.any(axis=2)', (_PROBE,),
    ),
    Mutant(
        'full_as_a_small_set', 'full data is trained by the rules of a distilled set',
        'bench/pipeline/probe.py', 'is_full=is_full', 'is_full=False', (_WIRING,),
    ),
    Mutant(
        'small_set_as_full', 'a distilled set is trained by the rules of full data',
        'bench/pipeline/probe.py', 'is_full=is_full', 'is_full=True', (_WIRING,),
    ),
    Mutant(
        'tested_on_source', 'a probe is trained and tested on the backbone that made the images',
        'bench/pipeline/probe.py', 'session.backbone(cell.eval, ', 'session.backbone(cell.source or cell.eval, ', (_RUN,),
    ),
    Mutant(
        'other_photographs', 'the probe is trained on the first images of the split and not on the chosen ones',
        'bench/distillation/distilled_set.py', 'self.images[int(self.indices_N[i])]', 'self.images[i]', (_WIRING,),
    ),
    Mutant(
        'ridge_not_centred', 'features of the ridge probe are not centred',
        'bench/probes/ridge.py', 'z_ND = (features(whole) - mean_D) / scale', 'z_ND = features(whole) / scale', (_PROBE,),
    ),
    Mutant(
        'ridge_not_scaled', 'the strength of the ridge depends on the scale of the features',
        'bench/probes/ridge.py', 'scale = square_N.mean().sqrt().clamp(min=1e-12)', 'scale = torch.ones(()).double()',
        (_PROBE,),
    ),
    Mutant(
        'ridge_strength_by_count', 'the strength of the ridge depends on the number of images',
        'bench/probes/ridge.py', 'strength * count * torch.eye(count', 'strength * torch.eye(count', (_PROBE,),
    ),
    Mutant(
        'ridge_on_random_views', 'the ridge probe is trained on random views',
        'bench/probes/ridge.py', 'view = CenterView(backbone.input_side, backbone.interpolation)',
        'from bench.features.views import RandomView\n'
        '    view = RandomView(backbone.input_side, backbone.interpolation, seed=0)', (_WIRING,),
    ),
    Mutant(
        'ridge2_by_test', 'ridge-v2 chooses the strength on test images',
        'bench/probes/chosen_ridge.py', 'features(task.real), np.asarray(task.real.labels_N), rows_N), len(rows_N)',
        'features(task.test), np.asarray(task.test.labels_N), np.arange(len(task.test))), len(rows_N)', (_CHOSEN,),
    ),
    Mutant(
        'ridge2_own_images', 'images of the set choose the strength of their probe',
        'bench/probes/chosen_ridge.py', 'others[[] if task.own_N is None else task.own_N] = False', 'others[[]] = False',
        (_CHOSEN,),
    ),
    Mutant(
        'ridge2_seen_folds', 'the strength for full data is judged by probes that have seen the images',
        'bench/probes/chosen_ridge.py', 'solve(whole.without(part), STRENGTHS)', 'solve(whole, STRENGTHS)', (_CHOSEN,),
    ),
    Mutant(
        'ridge2_smallest', 'of equal strengths the smallest is taken',
        'bench/probes/chosen_ridge.py', 'np.flatnonzero(hits_S == hits_S.max())[-1]',
        'np.flatnonzero(hits_S == hits_S.max())[0]', (_CHOSEN,),
    ),
    Mutant(
        'gate_sees_held_out', 'the best linear probe of the gate is trained on held-out images too',
        'bench/analysis/gate.py', 'fit = total(parts)', 'fit = total([held, *parts])', (_GATE,),
    ),
    Mutant(
        'gate_any_mean', 'the gate lets pass what class means do not separate',
        'bench/results/gate.py', 'if self.mean_share < MEAN_SHARE:', 'if self.mean_share < MEAN_SHARE - 0.1:', (_GATE,),
    ),
    Mutant(
        'gate_of_other_weights', 'a line of the gate counts for other weights',
        'bench/results/gate.py', 'return pair if _same(pair.data, train) and _same(pair.weights, weights) else None',
        'return pair if _same(pair.data, train) else None', (_GATE,),
    ),
    Mutant(
        'fresh_order_exchanged', 'fresh views of a repeat are those of other images',
        'bench/probes/adam.py', '[f_ND[rows_B] for f_ND,', '[f_ND[rows_B.flip(0)] for f_ND,', (_EVALUATOR,),
    ),
    Mutant(
        'nn1_by_distance', 'nn1-v1 takes the nearest image by distance and not by angle',
        'bench/probes/nearest.py', "metric: Literal['cosine', 'euclidean'] = 'cosine'",
        "metric: Literal['cosine', 'euclidean'] = 'euclidean'", (_PROBE,),
    ),
    Mutant(
        'nn1_by_product', 'nn1-v1 takes the image of the largest scalar product',
        'bench/probes/nearest.py', "F.normalize(f_D, dim=1) if metric == 'cosine' else f_D", 'f_D', (_PROBE,),
    ),
    Mutant(
        'nn1_in_any_of_five', 'nn1-v1 counts an image if any of its five nearest has its class',
        'bench/probes/nearest.py', 'correct_RN=hits_NK[None, :, 0]', 'correct_RN=hits_NK.any(axis=1)[None]', (_PROBE,),
    ),
    Mutant(
        'nn1_on_random_views', 'nn1-v1 sees random views',
        'bench/probes/nearest.py', 'view = CenterView(backbone.input_side, backbone.interpolation)',
        'from bench.features.views import RandomView\n'
        '    view = RandomView(backbone.input_side, backbone.interpolation, seed=0)', (_WIRING,),
    ),
)  # fmt: skip

METHODS = (
    Mutant(
        'herding_away', 'herding moves away from the class mean',
        'methods/herding.py', 'ahead_D = sum_D - step', 'ahead_D = sum_D + step', (_SELECTORS,),
    ),
    Mutant(
        'centroid_farthest', 'centroid takes the images farthest from the class mean',
        'methods/centroid.py', 'np.argsort(distance_M', 'np.argsort(-distance_M', (_SELECTORS,),
    ),
    Mutant(
        'centroid_of_all', 'centroid takes the images nearest to the mean of all classes',
        'methods/centroid.py', 'f_MD - f_MD.mean(axis=0)', 'f_MD - f_ND.mean(axis=0)', (_SELECTORS,),
    ),
    Mutant(
        'k_center_from_first', 'k-center starts at the first image',
        'methods/k_center.py', 'chosen = [_nearest_to_mean(f_ND, square_N, rounding)]', 'chosen = [0]', (_SELECTORS,),
    ),
    Mutant(
        'k_center_nearest', 'k-center measures the distance to the farthest chosen image and not to the nearest',
        'methods/k_center.py', 'distance_P = np.minimum(distance_P,', 'distance_P = np.maximum(distance_P,', (_SELECTORS,),
    ),
    Mutant(
        'random_with_replacement', 'random may draw an image twice',
        'methods/random.py', 'replace=False', 'replace=True', (_SELECTORS,),
    ),
    Mutant(
        'random_same_for_all_seeds', 'random draws the same images for every seed',
        'methods/random.py', "task.generator('random')", 'np.random.default_rng(0)', (_SELECTORS,),
    ),
    Mutant(
        'neighbours_of_any_class', 'the nearest real image may be of another class',
        'bench/features/similarity.py', 'np.flatnonzero(labels_M == label)', 'np.arange(len(labels_M))',
        (_NEIGHBOURS, _REPLACED),
    ),
    Mutant(
        'neighbours_by_product', 'the nearest real image is that of the largest scalar product',
        'bench/features/similarity.py', 'unit(f_ND[queries]) @ unit(f_MD[members]).T', 'f_ND[queries] @ f_MD[members].T',
        (_NEIGHBOURS, _REPLACED),
    ),
    Mutant(
        'neighbour_taken_twice', 'two distilled images may have the same neighbour',
        'methods/neighbors.py', 'if row not in chosen)', 'if row is not None)', (_NEIGHBOURS, _REPLACED),
    ),
    Mutant(
        'sfm_not_centred', 'sfm compares class means that are not centred',
        'methods/sfm.py', '(m_CD.mean(dim=0) - m_CD)', '(0 - m_CD)', (_RIVALS,),
    ),
    Mutant(
        'frf_one_target', 'frf gives all images of a class the same target',
        'methods/frf.py', 'real.cluster_means(synthetic.ipc)[labels_N, position_N]',
        'real.cluster_means(synthetic.ipc)[labels_N, 0 * position_N]', (_RIVALS,),
    ),
    Mutant(
        'dm_of_the_test_view', 'dm matches the means of the test view',
        'methods/dm.py', 'real.class_means(views=True)', 'real.class_means()', (_RIVALS,),
    ),
    Mutant(
        'clp_by_images', 'clp weighs real images alike and not classes',
        'methods/clp.py', 'real.counts_C.max() / real.counts_C.clamp(min=1)', 'torch.ones(real.num_classes)', (_RIVALS,),
    ),
    Mutant(
        'lgm_plus_strength', 'lgm_plus ignores its ridge strength',
        'methods/lgm_plus.py', 'ridge = strength * covariance_DD', 'ridge = 10 * covariance_DD', (_RIVALS,),
    ),
    Mutant(
        'lgm_plus_distance', 'the targets of lgm_plus are not at the distance of the class means',
        'methods/lgm_plus.py', 'direction_CD = direction_CD * (spread', 'direction_CD = 2 * direction_CD * (spread',
        (_RIVALS,),
    ),
    Mutant(
        'temperature_multiplies', 'soft labels are sharper at a high temperature',
        'bench/distillation/soft_labels.py', '/ temperature)', '* temperature)', (_SOFT,),
    ),
    Mutant(
        'temperature_not_bound', 'label_temperature is ignored',
        'methods/_synthesis/distil.py', 'temperature=label_temperature', 'temperature=0.1', (_WIRING,),
    ),
    Mutant(
        'teacher_by_images', 'the teacher of soft labels weighs images alike and not classes',
        'bench/distillation/soft_labels.py', 'num_classes * counts_C[labels_N[rows]]',
        '0 * counts_C[labels_N[rows]] + len(f_ND)', (_SOFT,),
    ),
)  # fmt: skip

RESULTS = (
    Mutant(
        'z_interval', 'intervals use the normal distribution',
        'bench/results/intervals.py', 'half = float(stdtrit(len(values) - 1, 0.975))', 'half = 1.959964', (_RECORDS,),
    ),
    Mutant(
        'interval_of_population', 'intervals divide the squares by n and not by n - 1',
        'bench/results/intervals.py', 'np.std(values, ddof=1)', 'np.std(values, ddof=0)', (_RECORDS,),
    ),
    Mutant(
        'welch_freedom', "Welch's interval has too many degrees of freedom",
        'bench/results/intervals.py', 'a**2 / (n_a - 1) + b**2 / (n_b - 1)', 'a**2 / n_a + b**2 / n_b', (_COMPARE,),
    ),
    Mutant(
        'spread_of_population', 'the ± of a row divides the squares by n',
        'bench/results/summary.py', 'np.std(values, ddof=1)', 'np.std(values, ddof=0)', (_BOARD,),
    ),
    Mutant(
        'repeats_as_seeds', 'the interval of a row takes repeats of one seed for independent',
        'bench/results/statistics.py', 'x_UN = self.correct_SN if several else',
        'x_UN = self.correct_SPN.reshape(-1, self.correct_SPN.shape[2]).astype(float) if several else',
        (_STATISTICS, _BOARD),
    ),
    Mutant(
        'unpaired_test', 'two accuracies never share their test images',
        'bench/results/statistics.py', 'parts = {(units, self.images): x_UN}', 'parts = {(units, id(self)): x_UN}',
        (_STATISTICS,),
    ),
    Mutant(
        'holm_over_one', 'p-values of a comparison are not adjusted',
        'bench/results/comparison.py', 'adjusted = iter(holm(known_p))', 'adjusted = iter(known_p)', (_COMPARE,),
    ),
    Mutant(
        'published_spread', 'the published ± is taken for one with n - 1',
        'bench/results/published.py', 'self.std * math.sqrt(RUNS / (RUNS - 1))', 'self.std', (_COMPARE,),
    ),
    Mutant(
        'worst_is_first', 'the worst method of a column has the first rank',
        'bench/results/statistics.py', '(a, b) if difference.mean > 0 else (b, a)',
        '(b, a) if difference.mean > 0 else (a, b)',
        (_STATISTICS, _BOARD),
    ),
    Mutant(
        'rules_mixed', 'a table mixes rules of one name',
        'bench/results/summary.py', 'return tuple(entry[name] for name in _TABLE)',
        "return tuple('' if name == 'protocol_hash' else entry[name] for name in _TABLE)", (_BOARD,),
    ),
    Mutant(
        'labels_mixed', 'a table mixes hard and soft labels',
        'bench/results/summary.py', 'return tuple(entry[name] for name in _TABLE)',
        "return tuple('hard' if name == 'labels' else entry[name] for name in _TABLE)", (_BOARD,),
    ),
    Mutant(
        'settings_mixed', 'a row mixes records of different settings',
        'bench/results/summary.py', "variants = grouped(entries, lambda entry: entry['settings'])\n        labels",
        "variants = grouped(entries, lambda entry: entries[0]['settings'])\n        labels", (_BOARD,),
    ),
    Mutant(
        'bits_inverted', 'the record keeps which images were wrong',
        'bench/results/record.py', 'np.packbits(np.asarray(correct_RN, dtype=bool), axis=1)',
        'np.packbits(~np.asarray(correct_RN, dtype=bool), axis=1)', (_BITS,),
    ),
    Mutant(
        'first_repeat_by_class', 'accuracy per class is that of the first repeat',
        'bench/results/make.py', 'weights=correct_RN.mean(axis=0)', 'weights=correct_RN[0].astype(float)', (_RECORDS,),
    ),
    Mutant(
        'best_group', 'the worst group is the best',
        'bench/results/make.py', 'lowest, worst = min(', 'lowest, worst = max(', (_RECORDS,),
    ),
    Mutant(
        'adjusted_by_test', 'the adjusted mean weighs groups by their test images',
        'bench/results/make.py', '(group.n_train or 0) * accuracy for', 'weight * group.n / len(test) * accuracy for',
        (_RECORDS,),
    ),
    Mutant(
        'images_not_drawn', 'intervals leave out the choice of test images',
        'bench/results/statistics.py', 'for terms in self._terms for value, _ in terms)', 'for value, _ in self._terms[0])',
        (_STATISTICS,),
    ),
    Mutant(
        'interaction_twice', 'the interaction of sets and images counts twice',
        'bench/results/statistics.py', '/ len(x) - rest[images])', '/ len(x))', (_STATISTICS,),
    ),
    Mutant(
        'sets_apart', 'cells do not share their distilled sets',
        'bench/results/statistics.py', "('sets', self.sets) if several", "('sets', id(self)) if several", (_STATISTICS,),
    ),
    Mutant(
        'normal_interval', 'two sets are as good as many',
        'bench/results/statistics.py', 'ndtri(upper) if math.isinf(freedom) else', 'ndtri(upper) if True else',
        (_STATISTICS,),
    ),
    Mutant(
        'interval_of_90_percent', 'intervals are of 90 %',
        'bench/results/statistics.py', 'LEVEL = 0.95', 'LEVEL = 0.90', (_STATISTICS,),
    ),
    Mutant(
        'one_set_ranked', 'a method that draws its sets is ranked by a single one',
        'bench/results/statistics.py', 'n=n, one_set=self.drawn and not several', 'n=n, one_set=False', (_STATISTICS,),
    ),
    Mutant(
        'ranks_without_holm', 'ranks are decided pair by pair',
        'bench/results/statistics.py', 'adjusted = holm([difference.p for difference in differences])',
        'adjusted = [difference.p for difference in differences]', (_STATISTICS,),
    ),
    Mutant(
        'mean_of_worst', 'the worst group is the mean of the lowest of each record',
        'bench/results/statistics.py',
        'return min(float(np.mean([groups[name] for groups in accuracies])) for name in accuracies[0])',
        'return float(np.mean([min(groups.values()) for groups in accuracies]))', (_STATISTICS,),
    ),
    Mutant(
        'small_gap', 'a recovered gap is shown however small the gap is',
        'bench/results/statistics.py', 'if gap.mean >= GAP else None', 'if gap.mean > 0 else None', (_STATISTICS,),
    ),
    Mutant(
        'tasks_fixed', 'the mean over tasks leaves out how tasks differ',
        'bench/results/statistics.py', "{('tasks', 'no images'): x_U[:, None]}",
        "{('tasks', 'no images'): 0 * x_U[:, None]}",
        (_STATISTICS,),
    ),
    Mutant(
        'equal_by_absence', 'a difference that is not significant counts as equal',
        'bench/results/comparison.py', "'equal' if abs(difference) + one_sided < margin else",
        "'equal' if abs(difference) < half else", (_COMPARE,),
    ),
)  # fmt: skip

TABLES = (
    Mutant(
        'table_of_quick_rules', 'the published tables are made by paper-v1',
        'gin/suites/paper.gin', "run.protocol = 'release-v1'", "run.protocol = 'paper-v1'", (_TABLES,),
    ),
    Mutant(
        'table_of_ten_views', 'the ImageNet-1k table takes ten views of an image per update and not three',
        'gin/suites/paper_table1_1k.gin', 'lgm.num_augmentations = 3', 'lgm.num_augmentations = 10', (_TABLES,),
    ),
    Mutant(
        'table_6_by_probes', 'table 6 is made by trained probes',
        'gin/suites/paper_table6.gin', "run.protocol = 'nn1-v1'", "run.protocol = 'release-v1'", (_TABLES,),
    ),
    Mutant(
        'ablation_without_effect', 'the ablation of the pyramid has a pyramid',
        'gin/suites/paper_table3.gin', "parameterization = 'pixels'", "parameterization = 'pyramid'", (_TABLES,),
    ),
)  # fmt: skip

MUTANTS = (*PYRAMID, *LOOP, *GRADIENT, *REAL, *VIEWS, *PROBES, *METHODS, *TABLES, *RESULTS)
