"""Text models: prompts to token ids, token ids to text.

May import: sampling and what it may import.
Public names: `codec` (Codec, TextCodec), `tokenizer` (PromptTokenizer), `encoder_process`, `transcript` (Transcript).
"""
