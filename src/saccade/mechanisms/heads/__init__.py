"""Mechanisms that change how heads share, route or size their work."""

MECHANISMS: dict[str, str] = {
    "attentive-experts": "attentive_experts:AttentiveExperts",
    "diff-qkv": "diff_qkv:DiffQKV",
    "grouped-query": "grouped_query:GroupedQuery",
    "head-embeddings": "head_embeddings:HeadEmbeddings",
    "key-driven": "key_driven:KeyDriven",
    "label": "label:Label",
    "latent": "latent:Latent",
    "mixture-of-heads": "mixture_of_heads:MixtureOfHeads",
    "norm-routed": "norm_routed:NormRouted",
    "weighted-groups": "weighted_groups:WeightedGroups",
}
