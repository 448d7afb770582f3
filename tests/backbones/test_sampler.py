import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import CogVideoXDDIMScheduler, FlowMatchEulerDiscreteScheduler

from tests.backbones.small import FLOW, V_PREDICTION
from vpdata.backbones.objective import objective_of
from vpdata.backbones.sampler import KnownLatents, guided, sample

CONFIGS = {"v": V_PREDICTION, "flow": FLOW}


def noise() -> torch.Tensor:
    return torch.randn(2, 4, 3, 5, 6, generator=torch.Generator().manual_seed(0))


def wavy(noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """Some velocity that depends on both of its arguments."""
    return torch.sin(noisy * 2) + timesteps.reshape(-1, 1, 1, 1, 1) / 1000


def test_v_prediction_is_sampled_as_by_the_librarys_ddim():
    scheduler = CogVideoXDDIMScheduler.from_config(
        V_PREDICTION | {"timestep_spacing": "trailing", "clip_sample": False}
    )
    scheduler.set_timesteps(10)
    latents = noise()
    for timestep in scheduler.timesteps:
        latents = scheduler.step(wavy(latents, timestep.expand(2)), timestep, latents).prev_sample
    ours = sample(wavy, noise(), objective_of(V_PREDICTION), num_steps=10)
    # The library's last step goes to the alpha of timestep 0's predecessor, which is 1.
    torch.testing.assert_close(ours, latents, rtol=1e-3, atol=1e-3)


def test_flow_is_sampled_as_by_the_librarys_euler():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=[(10 - step) / 10 for step in range(10)])
    latents = noise()
    for timestep in scheduler.timesteps:
        latents = scheduler.step(wavy(latents, timestep.expand(2)), timestep, latents).prev_sample
    torch.testing.assert_close(sample(wavy, noise(), objective_of(FLOW), num_steps=10), latents, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_true_velocity_leads_to_the_clean_latents_in_any_number_of_steps(kind):
    objective = objective_of(CONFIGS[kind])
    clean = noise().flip(0)
    for num_steps in (1, 3, 20):
        truth = sample(
            lambda noisy, timesteps: objective.target(clean, noise(), timesteps),
            noise(),
            objective,
            num_steps=num_steps,
        )
        torch.testing.assert_close(truth, clean, rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("kind", CONFIGS)
def test_known_latents_come_back_exactly_and_are_as_noisy_as_the_rest_on_the_way(kind):
    objective = objective_of(CONFIGS[kind])
    known = KnownLatents(clean=noise().flip(-1), hole=torch.zeros(2, 1, 3, 5, 6))
    known.hole[:, :, 1, 2, 3] = 1
    seen = []

    def watched(noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        seen.append((noisy, timesteps))
        return wavy(noisy, timesteps)

    out = sample(watched, noise(), objective, num_steps=4, known=known)
    assert torch.equal(out[:, :, 0], known.clean[:, :, 0])
    assert not torch.allclose(out[:, :, 1, 2, 3], known.clean[:, :, 1, 2, 3])
    for noisy, timesteps in seen[1:]:
        wanted = objective.add_noise(known.clean, noise(), timesteps)
        torch.testing.assert_close(noisy[:, :, 0], wanted[:, :, 0])


def test_guidance_goes_away_from_what_is_predicted_without_text():
    velocity = guided(lambda x, t: x + 3, lambda x, t: x + 1, scale=4)
    assert velocity(torch.zeros(1), torch.zeros(1)).item() == 1 + 4 * 2


def test_scale_one_asks_only_with_text():
    assert guided(wavy, lambda x, t: 1 / 0, scale=1) is wavy


def test_step_hook_can_stop_the_sampling():
    def stop(step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(wavy, noise(), objective_of(FLOW), num_steps=4, on_step=stop)
