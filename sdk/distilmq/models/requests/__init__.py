"""How models are asked: one coroutine per request, bounded, tried again where that helps, answers kept."""
