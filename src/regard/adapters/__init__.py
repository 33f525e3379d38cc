"""Small trainable parts beside a model that stays as it is (LoRA), in peft's file format."""
