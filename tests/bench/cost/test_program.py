import jax
import jax.numpy as jnp
import pytest
from jax import lax

from lossbench.bench.cost.program import describe, exponentials

TEXT = """
HloModule jit_f, entry_computation_layout={(f32[2,3]{1,0})->f32[2,3]{1,0}}

%fused (p: f32[2,3]) -> f32[2,3] {
  %p = f32[2,3]{1,0} parameter(0)
  %e = f32[2,3]{1,0} exponential(f32[2,3]{1,0} %p), metadata={op_name="jit(f)/exp"}
  ROOT %m = f32[2,3]{1,0} multiply(%e, %e)
}

%body.1 (s: (s32[], f32[2,3])) -> (s32[], f32[2,3]) {
  ROOT %f = f32[2,3]{1,0} fusion(%s), kind=kLoop, calls=%fused
}

%never (s: f32[]) -> f32[] {
  ROOT %n = f32[] exponential(f32[] %s)
}

ENTRY %main.7 (x: f32[2,3]) -> f32[2,3] {
  %w = (s32[]) while(%x), condition=%c, body=%body.1, backend_config={"known_trip_count":{"n":"4"}}
  %t = bf16[5]{0} tanh(bf16[5]{0} %q)
  %s = f32[] exponential-minus-one(f32[] %r)
  ROOT %l = f32[7]{0} log(f32[7]{0} %exponential)
}
"""


def test_exponentials_are_counted_by_the_values_that_go_through():
    assert exponentials(TEXT) == 4 * 6 + 5 + 1
    assert exponentials("") == 0


@pytest.mark.parametrize("blocks", [1, 8])
def test_a_loop_counts_as_often_as_it_runs(blocks):
    def function(x):
        return lax.map(lambda block: jnp.sum(jnp.exp(block)), x)

    x = jnp.zeros((blocks, 64))
    found = describe(jax.jit(function).lower(x).compile(), 1.5, x.size)
    assert found.exponentials == 1
    assert found.compile_seconds == 1.5
    assert found.temporary_bytes is not None
