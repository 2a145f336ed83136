"""Does a conditional diffusion model denoise better than what people use?"""
