import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import CogVideoXDDIMScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from tests.backbones.small import FLOW, SHIFTED_FLOW, V_PREDICTION
from vpdata.backbones.objective import objective_of
from vpdata.errors import ConfigError


def latents() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(3, 2, 4, generator=random), torch.randn(3, 2, 4, generator=random)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_v_prediction_mixes_and_targets_as_the_checkpoints_scheduler_does(shift):
    config = V_PREDICTION | {"snr_shift_scale": shift}
    scheduler = CogVideoXDDIMScheduler.from_config(config)
    clean, noise = latents()
    timesteps = torch.tensor([0, 500, 999])
    objective = objective_of(config)
    noisy = objective.add_noise(clean, noise, timesteps.float())
    torch.testing.assert_close(noisy, scheduler.add_noise(clean, noise, timesteps))
    torch.testing.assert_close(
        objective.target(clean, noise, timesteps.float()), scheduler.get_velocity(clean, noise, timesteps)
    )


def test_last_timestep_of_cogvideox_is_pure_noise():
    clean, noise = latents()
    noisy = objective_of(V_PREDICTION).add_noise(clean, noise, torch.full((3,), 999.0))
    torch.testing.assert_close(noisy, noise, rtol=0, atol=1e-3)


def test_flow_mixes_as_the_flow_scheduler_does():
    clean, noise = latents()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    timesteps = scheduler.timesteps[[100, 500, 900]]
    objective = objective_of(FLOW)
    torch.testing.assert_close(
        objective.add_noise(clean, noise, timesteps), scheduler.scale_noise(clean, timesteps, noise)
    )
    torch.testing.assert_close(objective.target(clean, noise, timesteps), noise - clean)


def test_flow_draws_are_shifted_as_the_samplers_sigmas_are():
    scheduler = UniPCMultistepScheduler.from_config(FLOW | {"use_flow_sigmas": True})
    scheduler.set_timesteps(10)
    uniform = torch.linspace(1, 1 / 1000, 11)[:-1]
    ours = objective_of(FLOW).timesteps(uniform)
    # The sampler's timesteps are whole numbers.
    torch.testing.assert_close(ours.floor(), scheduler.timesteps.float(), rtol=0, atol=1)


@pytest.mark.parametrize("span", [(0.875, 1.0), (0.0, 0.875), (0.9, 1.0)])
def test_draws_of_a_span_are_those_of_the_whole_that_lie_in_it(span):
    draws = torch.linspace(0, 1, 200_001)[:-1]
    whole = objective_of(FLOW).timesteps(draws)
    inside = whole[(whole >= 1000 * span[0]) & (whole < 1000 * span[1])]
    ours = objective_of(FLOW, span=span).timesteps(torch.linspace(0, 1, len(inside) + 1)[:-1])
    torch.testing.assert_close(ours, inside, rtol=0, atol=0.05)


def test_a_transformer_for_a_part_of_the_noise_samples_no_video():
    assert objective_of(FLOW).sampling_timesteps(4)[0] == 1000
    with pytest.raises(ConfigError, match="one of two"):
        objective_of(FLOW, span=(0.875, 1.0)).sampling_timesteps(4)


@pytest.mark.parametrize("num_tokens", [12, 4992])
@pytest.mark.parametrize("num_steps", [2, 10])
def test_shift_by_tokens_samples_the_levels_of_the_pipelines_scheduler(num_tokens, num_steps):
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(SHIFTED_FLOW)
    # `calculate_shift` of the pipeline: a line through (1024, 0.95) and (4096, 2.05).
    mu = 0.95 + (2.05 - 0.95) / (4096 - 1024) * (num_tokens - 1024)
    scheduler.set_timesteps(sigmas=[1 - step / num_steps for step in range(num_steps)], mu=mu)
    ours = objective_of(SHIFTED_FLOW).for_tokens(num_tokens).sampling_timesteps(num_steps)
    torch.testing.assert_close(ours, scheduler.timesteps, rtol=1e-4, atol=0.05)


def test_shift_by_tokens_samples_one_step_from_pure_noise():
    assert objective_of(SHIFTED_FLOW).for_tokens(12).sampling_timesteps(1).tolist() == [1000]


def test_shift_by_tokens_draws_more_noise_for_larger_windows():
    draws = torch.linspace(0.1, 0.9, 9)
    small, large = (objective_of(SHIFTED_FLOW).for_tokens(number).timesteps(draws) for number in (1024, 4096))
    # By hand: s = e^mu * u / (1 + (e^mu - 1) * u) at u = 0.5.
    assert small[4].item() == pytest.approx(1000 * 2.5857 * 0.5 / (1 + 1.5857 * 0.5), rel=1e-4)
    assert (large > small).all()


def test_shift_by_tokens_without_their_number_is_an_error():
    with pytest.raises(ValueError, match="call for_tokens first"):
        objective_of(SHIFTED_FLOW).timesteps(torch.tensor([0.5]))


def test_linear_shift_by_tokens_is_refused():
    with pytest.raises(ConfigError, match="'linear', wanted exponential"):
        objective_of(SHIFTED_FLOW | {"time_shift_type": "linear"})


@pytest.mark.parametrize("config", [V_PREDICTION, FLOW], ids=["v", "flow"])
def test_true_velocity_gives_the_clean_latents_back(config):
    objective = objective_of(config)
    clean, noise = latents()
    timesteps = torch.tensor([10.0, 500.0, 990.0])
    noisy, velocity = objective.add_noise(clean, noise, timesteps), objective.target(clean, noise, timesteps)
    torch.testing.assert_close(objective.clean_from(noisy, velocity, timesteps), clean, rtol=1e-4, atol=1e-4)


def test_velocity_loss_is_the_published_weighted_loss_of_clean_latents():
    objective = objective_of(V_PREDICTION)
    clean, noise = latents()
    timesteps = torch.tensor([50.0, 400.0, 900.0])
    noisy, velocity = objective.add_noise(clean, noise, timesteps), objective.target(clean, noise, timesteps)
    predicted = velocity + 0.3 * noise.roll(1)
    weight = 1 / objective.mix(timesteps)[1].square()
    of_clean = (objective.clean_from(noisy, predicted, timesteps) - clean).square().mean(dim=(1, 2)) * weight
    torch.testing.assert_close(of_clean, (predicted - velocity).square().mean(dim=(1, 2)), rtol=1e-3, atol=1e-5)


def test_scheduler_that_predicts_noise_is_refused_by_name():
    with pytest.raises(ConfigError, match="epsilon"):
        objective_of(V_PREDICTION | {"prediction_type": "epsilon"})
