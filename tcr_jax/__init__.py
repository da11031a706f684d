"""Concepts inside a language model, and which of them cause which others, and when."""

from tcr_jax.acyclicity import dagma, is_acyclic, log_det, notears, project_to_dag
from tcr_jax.config import Config, ConfigError
from tcr_jax.dictionary import decode, encode
from tcr_jax.mesh import make_mesh
from tcr_jax.objective import objective
from tcr_jax.params import Dictionary, Params, Process, init_params, param_specs
from tcr_jax.process import explain, history, impulse_response, innovations, predict, simulate, spectral_radius
from tcr_jax.train_step import TrainState, make_init_state, make_train_step
