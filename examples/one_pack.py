# %% Train one pack of three seeds on seven languages, with the small encoder and the embedded data: no Ray, no network
import xpe_core

recipe = {"learning_rate": 5e-3, "optimizer": "adamw", "pooling": "mean", "precision": "float32"}
config = xpe_core.RunConfig(
    backbone="e5-small", dataset="cldr", source_set="joshi5", max_length=32, max_steps=60, eval_steps=20, **recipe
)
data = xpe_core.load_tokens(config.data.dataset, config.backbone, config.data.max_length)
runs = [config.with_seed(seed) for seed in (1, 2, 3)]
model = xpe_core.Pack(xpe_core.load_backbone(config.backbone), runs, len(data.label_names))
for report in xpe_core.train(model, data):
    print(f"step {report.step}: {report.selection_accuracy:.3f} on the source languages' validation split")

# %% Test all three on languages that none of them saw, keep the first one, and use it
for run, scores in zip(runs, xpe_core.evaluate(model, data, "test", ["kat_Geor", "yor_Latn"]), strict=True):
    print(f"seed {run.seed}:", {score.language: round(score.accuracy, 3) for score in scores})
xpe_core.write_adapter(xpe_core.take_adapter(model, 0, data.label_names), "adapter.safetensors")
print(xpe_core.load("adapter.safetensors").predict(["სომხეთი", "Naira ti Naijiria"]))
